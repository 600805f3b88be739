#!/usr/bin/env bash
# verify.sh ARCHIVE TRUST: checks an archive after seal/README.md with programs
# that any machine has: sha256sum, ssh-keygen, openssl, zstd, coreutils, awk.
#
# It shares no line of code with auditail and exists to show that none is needed.
# One line a violation, exit 1 when there is one. It leaves out what it takes a JSON
# parser for (coverage, line counts of records), retention terms, silence, cosignatures,
# and what an auditor may expect beside the keys. Behind a manifest that does not fit
# it gives up on the epoch.
set -euo pipefail
export LC_ALL=C
archive=$1
trust=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/node"
shopt -s nullglob
cd "$archive"
bad=0
wrong() { echo "violation $*"; bad=1; }

# Bash itself does what would take a process for each few bytes otherwise.
digits=ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/
unbase64() { # TEXT: sets hex
  local text=${1%%=*} bits=0 held=0 c
  hex=
  while [ -n "$text" ]; do
    c=${digits%%"${text:0:1}"*} text=${text:1}
    [ "${#c}" -lt 64 ] || return 1
    held=$((held << 6 | ${#c})) bits=$((bits + 6))
    if [ "$bits" -ge 8 ]; then
      bits=$((bits - 8))
      printf -v c %02x $((held >> bits))
      hex+=$c held=$((held & (1 << bits) - 1))
    fi
  done
}
escape() { # HEX: sets escaped, to be printed with %b
  local i
  escaped=
  for ((i = 0; i < ${#1}; i += 2)); do escaped+="\\x${1:i:2}"; done
}
hash() { # FILE: sets sum
  read -r sum _ < <(sha256sum "$1") && sum=${sum#\\}
}

# root: sets sum to the root over the lines of a file (RFC 6962, section 2.1), or, with
# none, over the leaf hashes in the array hashes: by pairs, an odd one goes up as it is.
root() { # [FILE]
  local i odd=()
  if [ $# = 1 ]; then
    awk -v dir="$work/node" '{ f = dir "/" (NR - 1); printf "%c%s", 0, $0 > f; close(f) } END { print NR }' "$1" >"$work/count"
    read -r i <"$work/count"
    hashed "$i"
  fi
  while [ ${#hashes[@]} -gt 1 ]; do
    for ((i = 0; i + 1 < ${#hashes[@]}; i += 2)); do
      escape "${hashes[i]}${hashes[i + 1]}"
      printf '\001%b' "$escaped" >"$work/node/$((i / 2))"
    done
    odd=("${hashes[@]:i}")
    hashed $((i / 2))
    hashes+=("${odd[@]}")
  done
  sum=${hashes[0]-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855} # of nothing
}
hashed() { # N: sets hashes to those of the first files in $work/node
  local i list=() line
  for ((i = 0; i < $1; i++)); do list+=("$work/node/$i"); done
  hashes=()
  [ "$1" -gt 0 ] || return 0
  while read -r line _; do hashes+=("$line"); done < <(printf '%s\0' "${list[@]}" | xargs -0 sha256sum)
}

# note FILE: sets lines to the text of a signed note and signatures to what follows.
note() {
  local at
  mapfile -t lines <"$1"
  for at in "${!lines[@]}"; do [ -n "${lines[at]}" ] || break; done
  signatures=("${lines[@]:at + 1}") lines=("${lines[@]:0:at}")
  printf '%s\n' "${lines[@]}" >"$work/text"
}

declare -A ids=()
# signed NAME KEY LINE: whether a signature line of the note is that of a key, given
# as base64, under a name.
signed() {
  local line=${signatures[$3 - 1]-}
  [[ $line == "— $1 "* ]] && unbase64 "${line##* }" && [ ${#hex} = 136 ] || return 1
  escape "${hex:8}"
  printf %b "$escaped" >"$work/signature"
  local id=${hex:0:8}
  if [ -z "${ids["$1 $2"]-}" ]; then # of the key: name, LF, algorithm 1, key
    unbase64 "$2" && escape "$hex"
    printf '%s\n\001%b' "$1" "$escaped" >"$work/id"
    hash "$work/id"
    ids["$1 $2"]=${sum:0:8}
  fi
  [ "$id" = "${ids["$1 $2"]}" ] || return 1
  # The DER form of an Ed25519 key is twelve fixed bytes and the key.
  printf -- '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA%s\n-----END PUBLIC KEY-----\n' "$2" >"$work/key"
  openssl pkeyutl -verify -pubin -inkey "$work/key" -rawin -in "$work/text" -sigfile "$work/signature" >/dev/null 2>&1
}

# ssh_signed FILE: whether its SSH signature is that of the identity key, and in the
# one form that there is.
ssh_signed() {
  local all text right
  echo "$log namespaces=\"auditail-manifest\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA$ssh_key" >"$work/allowed"
  ssh-keygen -Y verify -f "$work/allowed" -I "$log" -n auditail-manifest -s "$1.sig" <"$1" >/dev/null 2>&1 || return 1
  mapfile all <"$1.sig"
  printf -v text %s "${all[@]:1:${#all[@]}-2}"
  text=${text//$'\n'/} right=${all[0]}
  while [ -n "$text" ]; do right+=${text:0:70}$'\n' text=${text:70}; done
  printf -v text %s "${all[@]}"
  [ "$text" = "$right${all[-1]}" ]
}

payload() { # PATH DIGEST PLAIN RECORDS ROOT
  [ -f "$1" ] || { wrong "payload-missing $1"; return; }
  hash "$1"
  [ "$sum" = "$2" ] || wrong "payload-digest $1"
  # Not a byte more than was sealed, whatever the file would unpack to.
  zstd -dcq "$1" 2>/dev/null | head -c $(($3 + 1)) >"$work/plain" || true
  local bytes lines
  read -r lines bytes _ < <(wc -lc "$work/plain")
  [ "$bytes" = "$3" ] || wrong "payload-size $1"
  [ "$lines" = "$4" ] || wrong "payload-records $1"
  root "$work/plain"
  unbase64 "$5"
  [ "$sum" = "$hex" ] || wrong "payload-root $1"
}

# use KEY: makes a key, in hex, the identity.
use() {
  escape "$1"
  key=$(printf %b "$escaped" | base64 -w 0)
  ssh_key=$(printf %b "\\x20$escaped" | base64 -w 0) # a length of 0x20 before it, as OpenSSH has it
}

# The one form that the text of a manifest has; what a time or number may be besides
# is left out here.
N='(0|[1-9][0-9]{0,18})' B='[A-Za-z0-9+/]{43}=' H='[0-9a-f]{64}' W='[!-~]+'
T='[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}([.][0-9]{0,8}[1-9])?Z'
form="^auditail/manifest@v1 origin $W batch $N kind (data|heartbeat|close|rotate $B|open (first|(rollback|fork) $W $N $B)) \
stream (-|$W $W $W) records $N $N root $B plain $N lines $N $N $N $N $N opened $T sealed $T next-by ($T|-) keep-until ($T|-) \
boot $W $N schema $W sha256:$H agent $W sha256:$H config sha256:$H witnessed $N $B ratchet $B ($H  records/$W )?$H  seals/$W\$"

# take: sets what the lines of a manifest say.
take() {
  local line
  origin='' batch='' kind='' records='' want='' plain='' ratchet='' digest='' path='' before=''
  for line in "${lines[@]}"; do
    case $line in
      'origin '*) origin=${line#* } ;;
      'batch '*) batch=${line#* } ;;
      'kind '*) kind=${line#* } ;;
      'records '*) records=${line#* } ;;
      'root '*) want=${line#* } ;;
      'plain '*) plain=${line#* } ;;
      'ratchet '*) ratchet=${line#* } ;;
      *'  records/'*) digest=${line%%  *} path=${line#*  } ;;
      *'  seals/'*) before=${line%%  *} ;;
    esac
  done
}

epoch() { # AGENT NUMBER
  local dir=seals/$1/$2 name=$log/$2 n=0 key='' ssh_key last='' counted=0 previous under=0 file all next='' log_hashes=()
  [ -f "$dir/identity.vkey" ] || { wrong "identity-missing $dir/identity.vkey"; return; }
  for k in "${keys[@]}"; do
    if [ "$(<"$dir/identity.vkey")" = "$k" ]; then k=${k#*+} && unbase64 "${k#*+}" && use "${hex:2}"; fi
  done
  [ -n "$key" ] || { wrong "identity-wrong $dir/identity.vkey"; return; }
  hash "$dir/identity.vkey"
  previous=$sum
  for file in "$dir"/*.manifest; do
    printf -v next '%s/%012d.manifest' "$dir" "$n"
    [ "$file" = "$next" ] || { wrong "batch-missing $next"; return; }
    note "$file"
    [[ ${lines[*]} =~ $form ]] || { wrong "manifest-invalid $file"; return; }
    take
    [ "$origin $batch" = "$name $n" ] || { wrong "batch-misplaced $file"; return; }
    signed "$name" "$key" 1 || wrong "signature-wrong $file"
    [ "$n" = 0 ] || signed "$name/ratchet" "$last" 2 || wrong "ratchet-wrong $file"
    ssh_signed "$file" || wrong "sshsig-wrong $file.sig"
    [ "$before" = "$previous" ] || wrong "chain-broken $file"
    [ "${records% *}" = "$counted" ] || wrong "records-broken $file"
    counted=${records#* }
    if [ "$kind" = data ]; then
      payload "$path" "$digest" "$plain" $((counted - ${records% *})) "$want"
      echo "$path" >>"$work/named"
    elif [[ $kind == "rotate "* ]]; then
      unbase64 "${kind#* }" && use "$hex"
      signed "$name" "$key" 3 || wrong "signature-wrong $file"
    fi
    last=$ratchet
    mapfile all <"$file"
    printf '\000' >"$work/leaf"
    printf %s "${all[@]}" >>"$work/leaf"
    { read -r previous _ && read -r sum _; } < <(sha256sum "$file" "$work/leaf")
    log_hashes+=("$sum")
    n=$((n + 1))
    checkpoint "$dir/checkpoint/$(printf %012d "$n")" && under=$n
  done
  [ "$n" -gt 0 ] || { wrong "batch-missing $dir/000000000000.manifest"; return; }
  [ "$under" = "$n" ] || wrong "checkpoint-missing $dir/checkpoint/$(printf %012d "$n")"
  for file in "$dir"/checkpoint/*; do
    [ "$((10#${file##*/}))" -gt 0 ] || wrong "unknown-file $file"
    [ "$((10#${file##*/}))" -le "$n" ] || wrong "checkpoint-ahead $file"
  done
  last_kind=$kind last_file=$next
}

# checkpoint FILE: whether there is one over the log as it is, with n manifests.
checkpoint() {
  [ -f "$1" ] || return 1
  note "$1"
  signed "$name" "$key" 1 || { wrong "checkpoint-invalid $1"; return 1; }
  hashes=("${log_hashes[@]}")
  root
  unbase64 "${lines[2]}"
  [ "${lines[*]:0:2} $hex" = "$name $n $sum" ] || { wrong "checkpoint-root $1"; return 1; }
}

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
