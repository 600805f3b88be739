#!/usr/bin/env python3
"""verify.py ARCHIVE TRUST [--from N] [--expect-size N] [--until TIME]

A second verifier, written after seal/README.md, with nothing but Python's standard
library and the program zstd. It shares no line of code with auditail and exists to
show that none is needed. It prints a line for each finding, "<level> <code> <path>",
and exits with 1 when one is a violation, with 2 when the trust file is none. It keeps what it reads in memory and is
slow; auditail-verify is neither.
"""
import argparse, base64, datetime, hashlib, json, os, re, stat, subprocess, sys

sha256 = lambda data: hashlib.sha256(data).digest()

# Ed25519 (RFC 8032, section 6): verification only.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def add(a, b):
    s, t = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    u, v = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = t - s, v - u, v + u, t + s
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(n, point):
    result = (0, 1, 1, 0)
    while n:
        if n & 1:
            result = add(result, point)
        point, n = add(point, point), n >> 1
    return result


def decompress(raw):
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P or x == 0 and sign:
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


def good_key(key):
    """Tells whether a key is one at all: of small order, anybody can sign for it (section 2)."""
    return len(key) == 32 and int.from_bytes(key, "little") & (1 << 255) - 1 < P and not small_order(decompress(key[:31] + bytes([key[31] & 127])))


def small_order(point):
    x, y, z, _ = times(8, point) if point else (1, 0, 0, 0)
    return x % P == 0 and (y - z) % P == 0


BASE = decompress((4 * pow(5, P - 2, P) % P).to_bytes(32, "little"))


def signed(key, message, signature):
    a, r, s = decompress(key), decompress(signature[:32]), int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or a is None or r is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    left, right = times(s, BASE), add(r, times(k, a))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


# Section 3: the tree.
EMPTY = sha256(b"")


class Tree:
    def __init__(self):
        self.size, self.stack = 0, []

    def add(self, leaf):
        node, size = sha256(b"\0" + leaf), self.size
        while size & 1:
            node, size = sha256(b"\1" + self.stack.pop() + node), size >> 1
        self.stack.append(node)
        self.size += 1

    def root(self):
        if not self.stack:
            return EMPTY
        root = self.stack[-1]
        for node in reversed(self.stack[:-1]):
            root = sha256(b"\1" + node + root)
        return root


def unbase64(text):
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise ValueError("base64 in another form")
    return raw


# Section 2: names and keys.
NAME = r"[a-z0-9][a-z0-9._-]{0,62}"


def key_hash(name, algorithm, key):
    return sha256(name.encode() + b"\n" + bytes([algorithm]) + key)[:4]


def parse_vkey(line):
    name, number, rest = line.split("+", 2)
    raw = unbase64(rest)
    if len(raw) != 33 or bytes.fromhex(number) != key_hash(name, raw[0], raw[1:]) or not good_key(raw[1:]):
        raise ValueError("no verifier key: " + line)
    return name, raw[0], raw[1:]


def split_note(file):
    at = file.rindex(b"\n\n")
    return file[: at + 1], file[at + 2 :].decode().split("\n")


def note_signed(text, line, name, key):
    """Tells whether a signature line is that of a key under a name."""
    start = "— " + name + " "
    if not line.startswith(start):
        return False
    try:
        raw = unbase64(line[len(start) :])
    except ValueError:
        return False
    return len(raw) == 68 and raw[:4] == key_hash(name, 1, key) and signed(key, text, raw[4:])


# Section 4: the manifest.
U = r"(0|[1-9][0-9]*)"
B = r"([A-Za-z0-9+/]{43}=)"
H = r"([0-9a-f]{64})"
T = r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}(?:\.[0-9]{0,8}[1-9])?Z)"
W = r"([!-~]+)"
MANIFEST = re.compile(
    r"auditail/manifest@v1\norigin ((?:" + NAME + r"/)+" + NAME + r"/[0-9]{4})\nbatch " + U + r"\nkind ([^\n]*)\nstream ([^\n]*)\n"
    "records " + U + " " + U + "\nroot " + B + "\nplain " + U + "\nlines " + " ".join([U] * 5) + "\n"
    "opened " + T + "\nsealed " + T + "\nnext-by (?:" + T + "|-)\nkeep-until (?:" + T + "|-)\n"
    "boot " + W + " " + U + "\nschema " + W + " sha256:" + H + "\nagent " + W + " sha256:" + H + "\nconfig sha256:" + H + "\n"
    "witnessed " + U + " " + B + "\nratchet " + B + "\n(?:" + H + "  (records/[^\n]*)\n)?" + H + "  (seals/[^\n]*)\n"
)


def moment(text):
    """Nanoseconds since 1970."""
    date, _, fraction = text[:-1].partition(".")
    at = datetime.datetime.strptime(date, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=datetime.timezone.utc)
    return int(at.timestamp()) * 10**9 + int(fraction.ljust(9, "0"))


class Manifest:
    def __init__(self, file):
        if len(file) > 6144:
            raise ValueError("too long")
        self.file = file
        self.text, self.signatures = split_note(file)
        match = MANIFEST.fullmatch(self.text.decode())
        if not match or len(self.text) > 4096:
            raise ValueError("not in the one form")
        (self.origin, batch, self.kind, stream, start, to, root, plain, *lines, opened, sealed, next_by, keep, _, uptime, _, _, _, _, _,
         seen, seen_root, ratchet, self.payload, self.path, self.previous, self.chained) = match.groups()
        self.batch, self.start, self.to, self.plain = int(batch), int(start), int(to), int(plain)
        self.lines, self.seen = [int(n) for n in lines], int(seen)
        if max(self.batch, self.start, self.to, self.plain, self.seen, int(uptime), *self.lines) >= 2**63 or self.batch >= 10**12:
            raise ValueError("a number is too large")
        if self.seen == 0 and unbase64(seen_root) != EMPTY or min(opened, sealed) < "1970":
            raise ValueError("not in the one form")
        self.root, self.seen_root, self.ratchet = unbase64(root), unbase64(seen_root), unbase64(ratchet)
        self.opened, self.sealed = moment(opened), moment(sealed)
        self.next_by = moment(next_by) if next_by else None
        self.keep = moment(keep) if keep else None
        self.agent, self.epoch = self.origin.split("/")[-2:]
        self.stream = tuple(stream.split(" "))
        kind, _, argument = self.kind.partition(" ")
        self.kind, self.reason = kind, argument
        before = "identity.vkey" if self.batch == 0 else "%012d.manifest" % (self.batch - 1)
        good = kind in ("data", "heartbeat", "close", "open", "rotate") and (kind == "open") == (self.batch == 0)
        good = good and bool(argument) == (kind in ("open", "rotate")) and self.epoch != "0000"
        good = good and self.chained == "seals/%s/%s/%s" % (self.agent, self.epoch, before)
        good = good and (kind == "close") == (self.next_by is None)
        good = good and (self.next_by is None or 0 <= self.next_by - self.sealed <= 48 * 3600 * 10**9) and (self.keep is None or self.keep >= self.sealed)
        if kind == "data":
            path = "records/env=%s/svc=%s/class=%s/day=%s/collector=%s/%s-%012d.ndjson.zst"
            good = good and len(self.stream) == 3 and all(re.fullmatch(NAME, part) for part in self.stream)
            good = good and self.path == path % (*self.stream, opened[:10], self.agent, self.epoch, self.batch)
            good = good and self.to > self.start and self.plain > 0 and self.keep is not None
        else:
            good = good and stream == "-" and self.path is None and self.to == self.start and self.root == EMPTY
            good = good and self.plain == 0 and self.lines == [0] * 5 and self.keep is None
        self.successor = unbase64(argument) if kind == "rotate" else None
        if not good or not good_key(self.ratchet) or self.successor is not None and not good_key(self.successor):
            raise ValueError("not in the one form")


# Section 3: records.
class Twice(dict):
    """An object in which a name stands twice, or too many stand."""


def members(pairs):
    return dict(pairs) if len(dict(pairs)) == len(pairs) <= 256 else Twice(pairs)


def refuse(constant):
    raise ValueError(constant + " is no JSON")


def record(line):
    """The record in a line, None when it is not one JSON object."""
    try:
        text = line.decode()
        r = json.loads(text, object_pairs_hook=members, parse_constant=refuse)
    except (ValueError, RecursionError):
        return None
    text = re.sub(r'"(?:[^"\\]|\\.)*"', "", text)
    depth = most = 0
    for c in text if text.count("[") + text.count("{") > 512 else "":
        depth += (c in "[{") - (c in "]}")
        most = max(most, depth)
    return r if type(r) is dict and line[:1] == b"{" and line[-1:] == b"}" and most <= 513 else None


def name(value):
    return isinstance(value, str) and len(value.encode(errors="replace")) <= 1024


def count(value):
    return type(value) is int and 0 <= value < 2**63


def good_range(s):
    if type(s) is not dict or not all(s.get(key) and name(s[key]) for key in ("source", "generation", "unit")):
        return False
    return all(count(s.get(key)) for key in ("from", "to", "lines")) and s["from"] <= s["to"]


def good_loss(r):
    loss = r.get("loss")
    if type(loss) is not dict or type(r.get("source", {})) is not dict or not name(r.get("source", {}).get("id", "")):
        return None
    good = all(name(loss[key]) for key in ("generation", "cause") if key in loss)
    good = good and all(count(loss[key]) for key in ("from", "to", "bytes", "lines") if key in loss)
    return loss if good else None


def good_gap(r, loss):
    ranged = not loss.get("generation") or "from" in loss and "to" in loss
    return ranged and loss.get("from", 0) <= loss.get("to", 0) and bool(r.get("source", {}).get("id")) and bool(loss.get("cause"))


def ssh_string(data):
    return len(data).to_bytes(4, "big") + data


def ssh_signed(file, armored, key):
    """Tells whether armored is the one SSH signature of a key over a file."""
    public = ssh_string(b"ssh-ed25519") + ssh_string(key)
    names = ssh_string(b"auditail-manifest") + ssh_string(b"") + ssh_string(b"sha512")
    head = b"SSHSIG" + (1).to_bytes(4, "big") + ssh_string(public) + names
    lines = armored.split(b"\n")
    try:
        blob = base64.b64decode(b"".join(lines[1:-2]), validate=True)
    except ValueError:
        return False
    signature = blob[-64:]
    text = base64.b64encode(head + ssh_string(ssh_string(b"ssh-ed25519") + ssh_string(signature))).decode()
    wrapped = [text[i : i + 70] for i in range(0, len(text), 70)]
    whole = "\n".join(["-----BEGIN SSH SIGNATURE-----", *wrapped, "-----END SSH SIGNATURE-----", ""])
    return whole.encode() == armored and signed(key, b"SSHSIG" + names + ssh_string(hashlib.sha512(file).digest()), signature)


class Verifier:
    def __init__(self, root, trust, options):
        self.root, self.options, self.keys, self.found = root, options, {}, []
        self.witnesses, self.members, self.quorum = [], {}, "none"
        quorums = 0
        for line in trust:
            words = line.split()
            if not words or line.startswith("#"):
                continue
            if words[0] in ("witness", "group") and words[1] in self.members or words[0] == "quorum" and quorums:
                raise ValueError("stands twice: " + line)
            if words[0] == "witness":
                name, algorithm, key = parse_vkey(words[2])
                if algorithm != 4 or any(key == other for _, other, _ in self.witnesses):
                    raise ValueError("no key of a witness, or one that stands twice: " + line)
                self.witnesses.append((name, key, key_hash(name, 4, key)))
                self.members[words[1]] = (1, [len(self.witnesses) - 1])
            elif words[0] == "group":
                least = {"any": 1, "all": len(words) - 3}[words[2]] if words[2] in ("any", "all") else int(words[2])
                if not 1 <= least <= len(words) - 3 or len(set(words[3:])) < len(words) - 3 or not all(part in self.members for part in words[3:]):
                    raise ValueError("no group: " + line)
                self.members[words[1]] = (least, words[3:])
            elif words[0] == "quorum":
                self.quorum, quorums = words[1], 1
                if self.quorum != "none" and self.quorum not in self.members:
                    raise ValueError("no quorum: " + line)
            else:
                name, algorithm, key = parse_vkey(line.strip())
                if algorithm != 1:
                    raise ValueError("no Ed25519 key: " + line)
                self.keys.setdefault(name, []).append(key)
        if self.witnesses and not quorums:
            raise ValueError("witnesses without a quorum")

    def violation(self, code, path):
        self.found.append("violation %s %s" % (code, path))

    def notice(self, code, path):
        self.found.append("notice %s %s" % (code, path))

    def read(self, path, limit=6144):
        if not stat.S_ISREG(os.lstat(os.path.join(self.root, path)).st_mode):
            raise OSError(path + " is no file")
        with open(os.path.join(self.root, path), "rb") as f:
            return f.read(limit + 1)

    # Section 7, 1: files.
    PATHS = re.compile(
        r"seals/(?P<agent>" + NAME + r")/(?!0000)(?P<epoch>[0-9]{4})/(?:(?P<identity>identity\.vkey)|(?P<manifest>[0-9]{12})\.manifest|(?P<sig>[0-9]{12})\.manifest\.sig"
        r"|checkpoint/(?!0{12})(?P<checkpoint>[0-9]{12})|cosignature/(?!0{12})(?P<cosignature>[0-9]{12})-(?P<witness>[0-9a-f]{8}))"
        r"|records/env=" + NAME + r"/svc=" + NAME + r"/class=" + NAME + r"/day=[0-9]{4}-[0-9]{2}-[0-9]{2}/collector=(?P<collector>" + NAME + r")"
        r"/(?!0000)[0-9]{4}-[0-9]{12}\.ndjson\.zst"
    )

    def files(self):
        self.epochs, self.payloads, strays, outside, unknown = {}, set(), [], set(), set()
        self.sealed = False
        for folder, folders, names in os.walk(self.root):
            links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
            for name in sorted(names + links):
                full = os.path.join(folder, name)
                path = os.path.relpath(full, self.root)
                top = path.split("/")[0]
                if top not in ("seals", "records"):
                    outside.add(top)
                    continue
                self.sealed = self.sealed or top == "seals"
                match = self.PATHS.fullmatch(path)
                if not stat.S_ISREG(os.lstat(full).st_mode):
                    strays.append("violation not-regular " + path)
                    continue
                if not match:
                    strays.append(("notice temporary-file " if path.endswith(".tmp") else "violation unknown-file ") + path)
                    continue
                agent = match["agent"] or match["collector"]
                if not self.log(agent):
                    unknown.add(agent)
                elif match["collector"]:
                    self.payloads.add(path)
                else:
                    epoch = self.epochs.setdefault(agent, {}).setdefault(
                        match["epoch"], {"manifest": set(), "sig": set(), "checkpoint": set(), "cosignature": set()})
                    for what in ("manifest", "sig", "checkpoint"):
                        if match[what]:
                            epoch[what].add(int(match[what]))
                    if match["cosignature"]:
                        epoch["cosignature"].add((match["witness"], int(match["cosignature"])))
        if not self.sealed:
            self.violation("no-seals", "seals")
        for agent in unknown:
            self.violation("key-unknown", "seals/" + agent)
        self.found += strays + ["notice outside-file " + top for top in outside]

    def log(self, agent):
        logs = sorted(name for name in self.keys if name.endswith("/" + agent) and name.rsplit("/", 1)[1] == agent)
        if len(logs) > 1:  # which organization is meant, the first identity file says
            for folder in sorted(os.listdir(os.path.join(self.root, "seals", agent))):
                line = self.read("seals/%s/%s/identity.vkey" % (agent, folder)).decode()
                return next((log for log in logs if line.startswith(log + "+")), logs[0])
        return logs[0] if logs else None

    def run(self):
        self.files()
        until = self.options.until
        if until is None:  # the last sealed time that the archive itself gives
            until = 0
            for agent, epochs in self.epochs.items():
                last = max(epochs)
                if epochs[last]["manifest"]:
                    try:
                        path = "seals/%s/%s/%012d.manifest" % (agent, last, max(epochs[last]["manifest"]))
                        until = max(until, Manifest(self.read(path)).sealed)
                    except (ValueError, OSError):
                        pass
        self.until, self.named = until, set()
        for agent in sorted(self.epochs):
            self.agent(agent, self.log(agent))
        for path in self.payloads - self.named:
            self.violation("payload-unnamed", path)
        for log in self.keys:
            if log.rsplit("/", 1)[1] not in self.epochs:
                self.violation("log-absent", "seals/" + log.rsplit("/", 1)[1])
        return self.found

    # Section 7, 2: epochs.
    def agent(self, agent, log):
        self.trusted, self.coverage, self.doubts = list(self.keys[log]), {}, 0
        last, number, roots = None, 1, {}
        for epoch in sorted(self.epochs[agent]):
            first = not roots
            if first and self.options.start:
                number = int(epoch)
            for missing in range(number, int(epoch)):
                self.violation("epoch-missing", "seals/%s/%04d" % (agent, missing))
            number = int(epoch) + 1
            if last and last.kind != "close":
                self.violation("epoch-not-closed", "seals/%s/%s/%012d.manifest" % (agent, last.epoch, last.batch))
            elif last:
                self.violation("epoch-after-close", "seals/%s/%s/%012d.manifest" % (agent, last.epoch, last.batch))
            self.doubts += first and (self.options.start > 0 or int(epoch) > 1)
            self.start = self.options.start if first else 0
            last = self.epoch(agent, log, epoch, self.epochs[agent][epoch], roots, epoch == max(self.epochs[agent]), last) or last
        if last and last.kind != "close" and last.next_by < self.until:
            level = "violation" if self.options.until is not None else "notice"
            self.found.append("%s silent-end seals/%s/%s/%012d.manifest" % (level, agent, last.epoch, last.batch))

    def identity(self, log, folder, origin, files):
        line = lambda key: (log + "+" + key_hash(log, 1, key).hex() + "+" + base64.b64encode(b"\1" + key).decode() + "\n").encode()
        path = folder + "/identity.vkey"
        try:
            content = self.read(path)
            for key in self.trusted:
                if content == line(key):
                    return key, line, True
            code = "identity-retired" if content in [line(key) for key in self.keys[log]] else "identity-wrong"
        except FileNotFoundError:
            code = "identity-missing"
        self.violation(code, path)
        return self.trial(origin, folder, files), line, False

    def trial(self, origin, folder, files):
        """The trusted key that signed the first manifest that is there."""
        for key in self.trusted:
            try:
                m = Manifest(self.read("%s/%012d.manifest" % (folder, min(files["manifest"]))))
            except (ValueError, OSError):
                break
            if note_signed(m.text, m.signatures[0], origin, key):
                return key
        return self.trusted[0]

    # Section 7, 3: the manifests of an epoch.
    def epoch(self, agent, log, number, files, roots, newest, before):
        folder, origin = "seals/%s/%s" % (agent, number), log + "/" + number
        key, line, known = self.identity(log, folder, origin, files)
        chain, ratchet, records, tree, last, held = hashlib.sha256(line(key)).hexdigest(), None, 0, Tree(), None, {}
        whole, loose, untold, quorum, witnessed = True, False, False, 0, {0: EMPTY}
        expected = min([self.start, *files["manifest"]])
        if expected > 0 and files["manifest"]:
            whole, loose = False, True
            self.notice("started-at", "%s/%012d.manifest" % (folder, expected))
            key = self.trial(origin, folder, files)
        under, looked, roots[origin] = 0, set(), None
        sizes = {}
        for n in sorted(files["manifest"]):
            path = "%s/%012d.manifest" % (folder, n)
            for missing in range(expected, n):
                self.violation("batch-missing", "%s/%012d.manifest" % (folder, missing))
            if n > expected:
                loose, whole, self.doubts = True, False, self.doubts + 1
            expected = n + 1
            m = self.manifest(path, origin, n)
            if m is None:
                loose, whole, self.doubts = True, False, self.doubts + 1
            else:
                wanted = {"open": 1, "rotate": 3}.get(m.kind, 2)
                proven = len(m.signatures) == wanted + 1 and m.signatures[-1] == "" and note_signed(m.text, m.signatures[0], origin, key)
                if not proven:
                    self.violation("signature-wrong" if len(m.signatures) == wanted + 1 else "manifest-invalid", path)
                if m.kind == "rotate" and proven and (m.successor == key or not note_signed(m.text, m.signatures[2], origin, m.successor)):
                    proven = False
                    self.violation("signature-wrong", path)
                if proven and m.kind != "open" and not loose and not note_signed(m.text, m.signatures[1], origin + "/ratchet", ratchet):
                    proven = False
                    self.violation("ratchet-wrong", path)
                if not loose:
                    if m.previous != chain and (known or n > 0):
                        self.violation("chain-broken", path)
                    if m.start != records:
                        self.violation("records-broken", path)
                    read, recorded, unparsed, ignored, kept = m.lines
                    more = recorded + unparsed + ignored + kept - read - held.get(m.stream, 0)
                    carried = m.stream not in held and m.epoch > "0001"  # from the epoch before
                    if m.kind == "data" and (whole or m.stream in held) and (more < 0 or more > 0 and not carried):
                        self.violation("lines-broken", path)
                    if last and m.sealed < last.sealed:
                        self.notice("time-backwards", path)
                    if last and last.next_by is not None and m.sealed > last.next_by:
                        self.notice("silence", path)
                else:
                    held = {}
                if n == 0 and before and int(before.epoch) + 1 == int(number):
                    if m.sealed < before.sealed:
                        self.notice("time-backwards", path)
                    if before.next_by is not None and m.sealed > before.next_by:
                        self.notice("silence", path)
                if m.opened > m.sealed:
                    self.notice("time-backwards", path)
                if m.sealed > self.options.now + 300 * 10**9:  # what clocks may differ by
                    self.notice("time-ahead", path)
                if m.kind == "open":
                    self.reason(m, path, roots)
                try:
                    armored = self.read(path + ".sig")
                    if not ssh_signed(m.file, armored, key):
                        self.violation("sshsig-wrong", path + ".sig")
                except FileNotFoundError:
                    self.violation("sshsig-missing", path + ".sig")
                if m.kind == "rotate" and proven:
                    self.notice("key-rotated", path)
                    self.trusted = [k for k in self.trusted if k not in (key, m.successor)] + [m.successor]
                    key = m.successor
                if m.kind == "data":
                    held[m.stream] = m.lines[4]
                    self.payload(m, proven)
                if whole and proven and m.seen and (m.seen > n or witnessed.get(m.seen) != m.seen_root):
                    self.violation("witnessed-wrong", path)
                chain, ratchet, records, last, loose = hashlib.sha256(m.file).hexdigest(), m.ratchet, m.to, m, False
                tree.add(m.file)
            if whole:
                sizes[n + 1] = witnessed[n + 1] = tree.root()
            for size in sorted(s for s in files["checkpoint"] if s <= n + 1 and s not in looked):
                looked.add(size)
                root = self.checkpoint(folder, origin, size, [key] if whole else [key, *self.keys[log]])
                if root is None:
                    self.violation("checkpoint-invalid", "%s/checkpoint/%012d" % (folder, size))
                elif size not in sizes:
                    under, untold = size, True
                elif root != sizes[size]:
                    self.violation("checkpoint-root", "%s/checkpoint/%012d" % (folder, size))
                else:
                    under = size
            if whole and self.cosigned(folder, origin, n + 1, tree.root(), files):
                quorum = n + 1
        if not files["manifest"]:
            self.violation("batch-missing", "%s/%012d.manifest" % (folder, expected))
            expected, whole = 0, False
        elif self.start >= expected:
            self.violation("batch-missing", "%s/%012d.manifest" % (folder, self.start))
        if whole and not loose:
            roots[origin] = sizes
        self.end(folder, origin, files, expected, key, under, quorum, untold, sizes, newest)
        return last

    def manifest(self, path, origin, n):
        try:
            m = Manifest(self.read(path))
        except (ValueError, OSError):
            self.violation("manifest-invalid", path)
            return None
        if (m.origin, m.batch) != (origin, n):
            self.violation("batch-misplaced", path)
            return None
        return m

    def reason(self, m, path, roots):
        words = m.reason.split(" ")
        if (m.reason == "first") != (m.epoch == "0001"):
            self.violation("open-reason", path)
        elif m.reason != "first":
            log = m.origin.rsplit("/", 1)[0]
            good = len(words) == 4 and words[0] in ("rollback", "fork") and words[1].rsplit("/", 1)[0] == log and words[1] < m.origin
            known = roots.get(words[1]) if good else None
            if not good or known is not None and known.get(int(words[2])) != unbase64(words[3]):
                self.violation("open-reason", path)

    # Section 7, 7: checkpoints, and the end of a log.
    def checkpoint(self, folder, origin, size, keys):
        try:
            text, signatures = split_note(self.read("%s/checkpoint/%012d" % (folder, size)))
            lines = text.decode().split("\n")
            root = unbase64(lines[2])
        except (ValueError, IndexError, OSError):
            return None
        good = lines == [origin, str(size), lines[2], ""] and len(root) == 32 and len(signatures) == 2 and signatures[1] == ""
        return root if good and any(note_signed(text, signatures[0], origin, key) for key in keys) else None

    def cosigned(self, folder, origin, size, root, files):
        """Checks the cosignatures over a head, and tells whether they are a quorum."""
        there = set()
        for i, (name, key, number) in enumerate(self.witnesses):
            if (number.hex(), size) not in files["cosignature"]:
                continue
            path = "%s/cosignature/%012d-%s" % (folder, size, number.hex())
            start, line = "— " + name + " ", self.read(path).decode(errors="replace")
            try:
                raw = unbase64(line[len(start) : -1]) if line.startswith(start) and line.endswith("\n") else b""
            except ValueError:
                raw = b""
            text = "%s\n%d\n%s\n" % (origin, size, base64.b64encode(root).decode())
            message = "cosignature/v1\ntime %d\n%s" % (int.from_bytes(raw[4:12], "big"), text)
            if len(raw) == 76 and raw[:4] == number and signed(key, message.encode(), raw[12:]):
                there.add(i)
            else:
                self.violation("cosignature-wrong", path)
        return self.quorum != "none" and self.holds(self.quorum, there)

    def holds(self, name, there):
        if isinstance(name, int):
            return name in there
        least, parts = self.members[name]
        return sum(self.holds(part, there) for part in parts) >= least

    def end(self, folder, origin, files, size, key, under, quorum, untold, sizes, newest):
        ahead = 0
        for at in sorted(at for at in files["checkpoint"] if at > size):
            if self.checkpoint(folder, origin, at, [key]) is None:
                self.violation("checkpoint-invalid", "%s/checkpoint/%012d" % (folder, at))
            else:
                ahead = at
        if ahead:
            self.violation("checkpoint-ahead", "%s/checkpoint/%012d" % (folder, ahead))
        if under < size:
            self.violation("checkpoint-missing", "%s/checkpoint/%012d" % (folder, size))
        if untold:
            self.notice("checkpoint-unchecked", folder + "/checkpoint")
        if newest and self.options.size and size < self.options.size:
            self.violation("expected-size", folder)
        for n in files["sig"] - files["manifest"]:
            self.violation("sshsig-stray", "%s/%012d.manifest.sig" % (folder, n))
        known = {number.hex() for _, _, number in self.witnesses}
        for number in known:
            seen = [at for who, at in files["cosignature"] if who == number]
            if seen and max(seen) > size:
                self.violation("cosignature-ahead", "%s/cosignature/%012d-%s" % (folder, max(seen), number))
        if self.quorum != "none" and quorum < size:
            self.violation("quorum-missing", "%s/checkpoint/%012d" % (folder, size))
        for _ in {who for who, _ in files["cosignature"]} - known:
            self.notice("cosignature-unchecked", folder + "/cosignature")
        if any(who in known and at <= size and at not in sizes for who, at in files["cosignature"]):
            self.notice("cosignature-unchecked", folder + "/cosignature")

    # Section 7, 4 to 6: payload, records, coverage.
    def payload(self, m, proven):
        full = os.path.join(self.root, m.path)
        self.named.add(m.path)
        if not os.path.lexists(full):
            expired = proven and m.keep <= self.until and (self.options.until is not None or m.keep <= self.options.now)
            self.found.append(("notice payload-expired " if expired else "violation payload-missing ") + m.path)
            self.doubts += 1
            return
        if not stat.S_ISREG(os.lstat(full).st_mode):
            self.violation("unreadable", m.path)
            self.doubts += 1
            return
        most = 2 * m.plain + (1 << 20)
        if proven and os.path.getsize(full) > most:
            self.violation("payload-size", m.path)
            self.doubts += 1
            return
        with open(full, "rb") as f:
            data = f.read()
        if hashlib.sha256(data).hexdigest() != m.payload:
            self.violation("payload-digest", m.path)
        if not proven:
            self.doubts += 1
            return
        if not data:
            self.violation("payload-size", m.path)
            self.doubts += 1
            return
        unpack = subprocess.Popen(["zstd", "-dcq", "-M8MB", full], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        plain = unpack.stdout.read(m.plain + 1)
        more = len(plain) > m.plain
        if more:
            unpack.kill()
        unpack.stdout.close()
        damaged = unpack.wait() != 0 and not more
        if more:
            self.violation("payload-size", m.path)
        elif damaged:
            self.violation("payload-encoding", m.path)
        elif len(plain) != m.plain:
            self.violation("payload-size", m.path)
        elif not plain.endswith(b"\n") or b"\n\n" in plain or plain.startswith(b"\n") or max(map(len, plain.split(b"\n"))) > 16 << 20:
            self.violation("payload-line", m.path)
        else:
            return self.records(m, plain[:-1].split(b"\n"))
        self.doubts += 1

    def records(self, m, lines):
        tree = Tree()
        for line in lines:
            tree.add(line)
        good = True
        if len(lines) != m.to - m.start:
            self.violation("payload-records", m.path)
            good = False
        if tree.root() != m.root:
            self.violation("payload-root", m.path)
            good = False
        if not good:
            self.doubts += 1
            return
        tail = re.compile(rb'"agent":\{"id":"' + re.escape(m.agent.encode()) + rb'","seq":([0-9]{1,19})\}\}$')
        seq, form, turn, covered, read, unparsed, spans = -1, 0, 0, False, 0, 0, []
        for i, line in enumerate(lines):
            match = tail.search(line)
            match = match if match and (match[1] == b"0" or match[1][:1] != b"0") and int(match[1]) < 2**63 else None
            if match:
                turn += int(match[1]) <= seq
                seq = int(match[1])
            r = record(line)
            if not match or r is None or next(reversed(r)) != "agent" or not isinstance(r.get("event"), str):
                form += 1
                continue
            event = r["event"]
            if event.startswith("agent.") and event != "agent.coverage" and len(line) > 1 << 20:
                form += 1
            elif event == "agent.coverage":
                ranges = r.get("coverage")
                if i != len(lines) - 1:
                    self.violation("coverage-invalid", m.path)
                    continue
                covered = True
                if not isinstance(ranges, list):
                    self.violation("coverage-invalid", m.path)
                    continue
                for s in ranges:
                    if not good_range(s):
                        self.violation("coverage-invalid", m.path)
                        continue
                    read += s["lines"]
                    spans.append((s["source"], s["generation"], s["from"], s["to"], s["unit"]))
            elif event in ("agent.unparsed", "agent.gap"):
                loss = good_loss(r)
                if loss is None:
                    self.violation("coverage-invalid", m.path)
                elif event == "agent.unparsed":
                    unparsed += loss.get("lines", 0)
                elif not good_gap(r, loss):
                    self.violation("coverage-invalid", m.path)
                else:
                    self.notice("gap", m.path)
                    if loss.get("generation"):
                        spans.append((r["source"]["id"], loss["generation"], loss["from"], loss["to"], ""))
        for code, times_found in (("record-form", form), ("record-order", turn)):
            for _ in range(min(times_found, 2)):
                self.violation(code, m.path)
        if not covered:
            self.violation("coverage-missing", m.path)
        elif read != m.lines[0]:
            self.violation("coverage-lines", m.path)
        if unparsed != m.lines[2]:
            self.violation("unparsed-lines", m.path)
        if sum(64 + len(source.encode()) + len(generation.encode()) for source, generation, _, _, _ in spans) > 4 << 20:
            self.violation("coverage-invalid", m.path)
            self.doubts += 1
            return
        for source, generation, start, to, unit in sorted(spans):
            end, doubts, before = self.coverage.get((source, generation), (0, 0, ""))
            if start > end and doubts == self.doubts:
                self.violation("coverage-hole", m.path)
            elif start < end and start < to and unit:
                self.violation("coverage-overlap", m.path)
            if unit and before and unit != before:
                self.violation("coverage-invalid", m.path)
            self.coverage[source, generation] = max(end, to), self.doubts, unit or before


def main():
    sys.setrecursionlimit(4096)
    sys.set_int_max_str_digits(0)
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("archive")
    p.add_argument("trust")
    p.add_argument("--from", dest="start", type=int, default=0, help="first batch that must be there, of the only agent's first epoch")
    p.add_argument("--expect-size", dest="size", type=int, default=0, help="manifests of the only agent's newest epoch, at least")
    p.add_argument("--until", type=moment, help="expected end, such as 2026-11-21T00:00:00Z")
    options = p.parse_args()
    options.now = int(datetime.datetime.now(datetime.timezone.utc).timestamp()) * 10**9
    try:
        with open(options.trust) as f:
            verifier = Verifier(options.archive, f.read().splitlines(), options)
    except (ValueError, OSError, IndexError) as e:
        print("trust file: %s" % e, file=sys.stderr)
        return 2
    found = verifier.run()
    print("".join(line.encode("unicode_escape").decode() + "\n" for line in sorted(found)), end="")
    return any(line.startswith("violation") for line in found)


if __name__ == "__main__":
    sys.exit(main())
