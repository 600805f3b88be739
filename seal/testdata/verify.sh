#!/usr/bin/env bash
# verify.sh ARCHIVE TRUST: checks an archive after seal/README.md with programs
# that any machine has: sha256sum, ssh-keygen, openssl, zstd, coreutils, awk.
#
# It shares no line of code with auditail and exists to show that none is needed.
# One line a violation, exit 1 when there is one. It takes its time, and leaves out
# what it takes a JSON parser for (coverage, line counts of records), retention
# terms, silence, cosignatures, and what an auditor may expect beside the keys. Behind
# a manifest that does not fit it gives up on the epoch.
set -euo pipefail
export LC_ALL=C
archive=$1
trust=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$archive"
bad=0
wrong() { echo "violation $*"; bad=1; }

unhex() { printf '%b' "$(sed 's/../\\x&/g')"; }
hash() { sha256sum | cut -d ' ' -f 1; }
tob64() { unhex | base64 -w 0; }
key_of() { cut -d + -f 3- <<<"$1" | base64 -d | tail -c 32 | od -An -v -tx1 | tr -d ' \n'; } # of a vkey

# leaves: a line of hex for each line of the standard input (RFC 6962, section 2.1).
leaves() {
  mkdir "$work/leaf"
  awk -v dir="$work/leaf" '{ f = sprintf("%s/%09d", dir, NR); printf "%c%s", 0, $0 > f; close(f) }'
  find "$work/leaf" -type f -print0 | sort -z | xargs -0 -r sha256sum | cut -c 1-64
  rm -r "$work/leaf"
}

# root: of the leaf hashes on the standard input, by pairs; an odd one goes up as it is.
root() {
  cat >"$work/level"
  [ -s "$work/level" ] || { printf '' | hash; return; }
  while [ "$(wc -l <"$work/level")" -gt 1 ]; do
    mkdir "$work/node"
    awk -v dir="$work/node" -v odd="$work/odd" '
      function bytes(hex, f,   i) {
        for (i = 1; i <= 64; i += 2)
          printf "%c", (index(digits, substr(hex, i, 1)) - 1) * 16 + index(digits, substr(hex, i + 1, 1)) - 1 > f
      }
      BEGIN { digits = "0123456789abcdef"; printf "" > odd }
      NR % 2 { left = $0; next }
      { f = sprintf("%s/%09d", dir, NR); printf "%c", 1 > f; bytes(left, f); bytes($0, f); close(f) }
      END { if (NR % 2) print left > odd }' "$work/level"
    { find "$work/node" -type f -print0 | sort -z | xargs -0 sha256sum | cut -c 1-64; cat "$work/odd"; } >"$work/next"
    mv "$work/next" "$work/level"
    rm -r "$work/node"
  done
  cat "$work/level"
}

# signed NOTE NAME HEXKEY LINE: the signature line counted from 1 is that key's.
signed() {
  local text=$work/text line signature
  sed '/^$/,$d' "$1" >"$text"
  line=$(sed -n '/^$/,$p' "$1" | sed -n "$((1 + $4))p")
  [[ $line == "— $2 "* ]] || return 1
  signature=${line##* }
  base64 -d <<<"$signature" >"$work/raw" 2>/dev/null || return 1
  [ "$(stat -c %s "$work/raw")" = 68 ] || return 1
  # The key's id: name, LF, algorithm 1, key.
  [ "$(head -c 4 "$work/raw" | od -An -v -tx1 | tr -d ' \n')" = \
    "$({ printf '%s\n\001' "$2"; printf '%s' "$3" | unhex; } | hash | head -c 8)" ] || return 1
  tail -c 64 "$work/raw" >"$work/signature"
  printf '302a300506032b6570032100%s' "$3" | unhex | openssl pkey -pubin -inform DER -out "$work/key" 2>/dev/null
  openssl pkeyutl -verify -pubin -inkey "$work/key" -rawin -in "$text" -sigfile "$work/signature" >/dev/null 2>&1
}

# ssh KEY: its line for allowed_signers.
ssh_line() {
  { printf '\000\000\000\013ssh-ed25519\000\000\000\040'; printf '%s' "$1" | unhex; } | base64 -w 0
}

word() { awk -v key="$2" '$1 == key { $1 = ""; print substr($0, 2); exit }' "$1"; }

payload() { # MANIFEST PATH DIGEST
  local from to
  [ -f "$2" ] || { wrong "payload-missing $2"; return; }
  [ "$(hash <"$2")" = "$3" ] || wrong "payload-digest $2"
  # Not a byte more than was sealed, whatever the file would unpack to.
  local plain
  plain=$(word "$1" plain)
  zstd -dcq "$2" 2>/dev/null | head -c $((plain + 1)) >"$work/plain" || true
  [ "$(stat -c %s "$work/plain")" = "$plain" ] || wrong "payload-size $2"
  read -r from to <<<"$(word "$1" records)"
  [ "$(wc -l <"$work/plain")" = $((to - from)) ] || wrong "payload-records $2"
  [ "$(leaves <"$work/plain" | root | tr -d '\n' | tob64)" = "$(word "$1" root)" ] || wrong "payload-root $2"
}

epoch() { # AGENT NUMBER
  local dir=seals/$1/$2 name=$log/$2 n=0 key= ratchet= previous records=0 file m
  [ -f "$dir/identity.vkey" ] || { wrong "identity-missing $dir/identity.vkey"; return; }
  for k in "${keys[@]}"; do
    [ "$(cat "$dir/identity.vkey")" = "$k" ] && key=$(key_of "$k")
  done
  [ -n "$key" ] || { wrong "identity-wrong $dir/identity.vkey"; return; }
  previous=$(hash <"$dir/identity.vkey")
  : >"$work/log"
  local under=0 kind=
  for file in "$dir"/*.manifest; do
    m=$work/manifest
    cp "$file" "$m"
    [ "$file" = "$dir/$(printf %012d "$n").manifest" ] || { wrong "batch-missing $dir/$(printf %012d "$n").manifest"; return; }
    [ "$(word "$m" origin) $(word "$m" batch)" = "$name $n" ] || { wrong "batch-misplaced $file"; return; }
    signed "$m" "$name" "$key" 1 || wrong "signature-wrong $file"
    [ "$n" = 0 ] || signed "$m" "$name/ratchet" "$ratchet" 2 || wrong "ratchet-wrong $file"
    echo "$log namespaces=\"auditail-manifest\" ssh-ed25519 $(ssh_line "$key")" >"$work/allowed"
    ssh-keygen -Y verify -f "$work/allowed" -I "$log" -n auditail-manifest -s "$file.sig" <"$file" >/dev/null 2>&1 || wrong "sshsig-wrong $file.sig"
    [ "$(cat "$file.sig" 2>/dev/null)" = "$(sed -n 1p "$file.sig" 2>/dev/null; sed '1d;$d' "$file.sig" 2>/dev/null | tr -d '\n' | fold -w 70; echo; sed -n '$p' "$file.sig" 2>/dev/null)" ] || wrong "sshsig-wrong $file.sig"
    [ "$(awk '$2 ~ /^seals\// {print $1}' "$m")" = "$previous" ] || wrong "chain-broken $file"
    read -r from to <<<"$(word "$m" records)"
    [ "$from" = "$records" ] || wrong "records-broken $file"
    records=$to
    kind=$(word "$m" kind)
    if [ "$kind" = data ]; then
      read -r digest path <<<"$(awk '$2 ~ /^records\// {print $1, $2}' "$m")"
      payload "$m" "$path" "$digest"
      echo "$path" >>"$work/named"
    fi
    if [[ $kind == "rotate "* ]]; then
      key=$(base64 -d <<<"${kind#rotate }" | od -An -v -tx1 | tr -d ' \n')
      signed "$m" "$name" "$key" 3 || wrong "signature-wrong $file"
    fi
    ratchet=$(word "$m" ratchet | base64 -d | od -An -v -tx1 | tr -d ' \n')
    previous=$(hash <"$file")
    { printf '\000'; cat "$file"; } | hash >>"$work/log"
    n=$((n + 1))
    checkpoint=$dir/checkpoint/$(printf %012d "$n")
    if [ -f "$checkpoint" ]; then
      if ! signed "$checkpoint" "$name" "$key" 1; then
        wrong "checkpoint-invalid $checkpoint"
      elif [ "$(head -n 3 "$checkpoint")" != "$name"$'\n'"$n"$'\n'"$(root <"$work/log" | tr -d '\n' | tob64)" ]; then
        wrong "checkpoint-root $checkpoint"
      else
        under=$n
      fi
    fi
  done
  [ "$under" = "$n" ] || wrong "checkpoint-missing $dir/checkpoint/$(printf %012d "$n")"
  for checkpoint in "$dir"/checkpoint/*; do
    [ "$((10#${checkpoint##*/}))" -gt 0 ] || wrong "unknown-file $checkpoint"
    [ "$((10#${checkpoint##*/}))" -le "$n" ] || wrong "checkpoint-ahead $checkpoint"
  done
  last_kind=$kind last_file=$file
  keys=()
  while IFS= read -r k; do keys+=("$k"); done < <(grep -v '^#' "$trust" | grep "^$log+" || true)
}

shopt -s nullglob
: >"$work/named"
for agent in seals/*/; do
  agent=${agent#seals/} agent=${agent%/}
  mapfile -t keys < <(grep -v '^#' "$trust" | grep -E "^[^+]*/$agent\+" || true)
  [ "${#keys[@]}" -gt 0 ] || { wrong "key-unknown seals/$agent"; continue; }
  log=${keys[0]%%+*} expected=1 last_kind=
  for folder in seals/"$agent"/*/; do
    folder=${folder%/}
    number=${folder##*/}
    for (( ; expected < 10#$number; expected++)); do wrong "epoch-missing seals/$agent/$(printf %04d "$expected")"; done
    expected=$((10#$number + 1))
    case $last_kind in
      '') ;;
      close) wrong "epoch-after-close $last_file" ;;
      *) wrong "epoch-not-closed $last_file" ;;
    esac
    last_kind=
    epoch "$agent" "$number"
  done
done
while IFS= read -r path; do
  grep -qxF "$path" "$work/named" || wrong "payload-unnamed $path"
done < <(find records -type f 2>/dev/null | sort)
exit "$bad"
