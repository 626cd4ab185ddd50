#!/usr/bin/env python3
"""An independent verifier of only1mcp's proofs, written from FORMAT.md alone. Python 3.10 or newer, nothing else.

  verify.py proof PROOF --keys KEYS [--receipt RECEIPT] [--witness VKEY]
  verify.py consistency FILE --keys KEYS [--witness VKEY]
  verify.py export FILE [--keys KEYS] [--checkpoint NOTE]... [--receipt RECEIPT]... [--witness VKEY]

  verify.py many FILE      each line the arguments of one of these, as a JSON array; one line of answer for each

Prints `valid ...` and ends with 0, or `CODE: detail` and ends with 1.
"""

import argparse
import base64
import binascii
import hashlib
import json
import re
import sys

# ---- ed25519, RFC 8032, verification only ----

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)


def recover_x(y, sign):
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    if square == 0:
        return None if sign else 0
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if (x * x - square) % P:
        return None
    return P - x if x & 1 != sign else x


def decompress(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & ((1 << 255) - 1)
    x = recover_x(y, sign)
    return None if x is None else (x, y, 1, x * y % P)


def add(a, b):
    m, n = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    c, d = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = n - m, d - c, d + c, n + m
    return (e * f % P, g * h % P, f * g % P, e * h % P)


def multiply(scalar, point):
    out = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            out = add(out, point)
        point, scalar = add(point, point), scalar >> 1
    return out


BASE_Y = 4 * pow(5, P - 2, P) % P
BASE_X = recover_x(BASE_Y, 0)
BASE = (BASE_X, BASE_Y, 1, BASE_X * BASE_Y % P)


def verifies(key, message, signature):
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r = decompress(key), decompress(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= Q:
        return False
    h = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % Q
    left, right = multiply(s, BASE), add(r, multiply(h, a))
    return not (
        (left[0] * right[2] - right[0] * left[2]) % P or (left[1] * right[2] - right[1] * left[2]) % P
    )


# ---- forms ----


class Fault(Exception):
    def __init__(self, code, detail=""):
        super().__init__(f"{code}: {detail}")
        self.code = code


def malformed(detail):
    return Fault("MALFORMED", detail)


def need(condition, detail):
    if not condition:
        raise malformed(detail)


def hash_of(text):
    need(isinstance(text, str) and re.fullmatch("[0-9a-f]{64}", text), "a hash")
    return bytes.fromhex(text)


def bytes_of(text):
    need(isinstance(text, str) and len(text) % 2 == 0 and re.fullmatch("[0-9a-f]*", text), "hexadecimal text")
    return bytes.fromhex(text)


def number(value):
    need(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64, "a number")
    return value


def decimal(text):
    need(re.fullmatch("0|[1-9][0-9]*", text) and int(text) < 1 << 64, "a decimal number")
    return int(text)


def unbase64(text):
    try:
        out = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise malformed("base64") from None
    need(base64.b64encode(out).decode() == text, "base64")
    return out


def u64(value):
    return value.to_bytes(8, "big")


def from_json(text):
    try:
        out = json.loads(text)
    except ValueError:
        raise malformed("JSON") from None
    need(isinstance(out, dict), "an object")
    return out


def path_of(value):
    need(isinstance(value, list) and len(value) <= 64, "a path")
    return [hash_of(text) for text in value]


# ---- chain and tree ----


def link(previous, index, digest):
    return hashlib.sha3_256(previous + u64(index) + digest).digest()


def leaf(index, digest):
    return hashlib.sha256(b"\0" + u64(index) + digest).digest()


def parent(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


EMPTY = hashlib.sha256().digest()


def split(size):
    return 1 << ((size - 1).bit_length() - 1)


def included(place, size, hash, path):
    """The root, following RFC 6962's definition of a path from its end."""
    if size == 1:
        return hash if not path else None
    if not path:
        return None
    k = split(size)
    if place < k:
        left = included(place, k, hash, path[:-1])
        return left and parent(left, path[-1])
    right = included(place - k, size - k, hash, path[:-1])
    return right and parent(path[-1], right)


def consistent(old, size, path, root, whole):
    """Old and new root of a subtree, following RFC 6962's definition from its end."""
    if old == size:
        if whole:
            return (root, root) if not path else None
        return (path[0], path[0]) if len(path) == 1 else None
    if not path:
        return None
    k = split(size)
    if old <= k:
        found = consistent(old, k, path[:-1], root, whole)
        return found and (found[0], parent(found[1], path[-1]))
    found = consistent(old - k, size - k, path[:-1], root, False)
    return found and (parent(path[-1], found[0]), parent(path[-1], found[1]))


def is_consistent(old, new, path):
    (old_size, old_root), (size, root) = old, new
    if old_size == size:
        return not path and old_root == root
    if old_size == 0:
        return not path and old_root == EMPTY
    return old_size < size and consistent(old_size, size, path, old_root, True) == (old_root, root)


class Frontier:
    def __init__(self, size, peaks):
        need(len(peaks) == size.bit_count(), "the frontier")
        self.size, self.peaks = size, list(peaks)

    def append(self, hash):
        size = self.size
        while size & 1:
            hash, size = parent(self.peaks.pop(), hash), size >> 1
        self.peaks.append(hash)
        self.size += 1

    def root(self):
        if not self.peaks:
            return EMPTY
        out = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            out = parent(peak, out)
        return out


# ---- events ----

SEALED = (b"\1", b"\2", b"\3")
ABSENT = {0x05, 0x0A, 0x0B, 0x0C, 0x12, 0x14, 0x15, 0x16, 0x17, 0x18}


def raw_parts(data):
    out = []
    while data:
        need(len(data) >= 4, "a part")
        length, data = int.from_bytes(data[:4], "big"), data[4:]
        need(len(data) >= length, "a part")
        out.append(data[:length])
        data = data[length:]
    return out


def parts(data):
    try:
        return [part.decode() for part in raw_parts(data)]
    except UnicodeDecodeError:
        raise malformed("a text") from None


class Event:
    def __init__(self, data):
        need(data[:1] in (b"\1", b"\2"), "an event's version")
        final = 0x19 if data[:1] == b"\1" else 0x1A
        fields, at, last = {}, 1, 0
        while at < len(data):
            tag, length = data[at], int.from_bytes(data[at + 1 : at + 5], "big")
            need(tag > last and at + 5 + length <= len(data), "an event's fields")
            fields[tag], at, last = data[at + 5 : at + 5 + length], at + 5 + length, tag
        need(last == final, "an event's fields")
        need(all(tag in fields or tag in ABSENT for tag in range(1, final + 1)), "an event's fields")
        self.fields = fields
        sealed = raw_parts(fields.get(0x1A, b""))
        need(len(sealed) % 4 == 0 and bool(sealed) == (final == 0x1A), "an event's sealed parts")
        for number, key, commitment in zip(sealed[::4], sealed[1::4], sealed[2::4]):
            need(number in SEALED and len(key) == 16 and len(commitment) == 32, "an event's sealed parts")
        details = parts(fields[0x19])
        need(len(details) % 2 == 0, "an event's details")
        self.details = list(zip(details[::2], details[1::2]))
        need(all(a < b for a, b in zip(self.details, self.details[1:])), "an event's details")
        self.action = fields[0x06].decode()
        self.told = fields[0x03] == b"system" and fields[0x08] == b"\1"

    def signers(self):
        actions = "node.set_signing_key node.set_role node.remove cluster.restore cluster.recover_unsafe"
        if not self.told or self.action not in actions.split():
            return None
        out = {}
        for name, value in self.details:
            if re.fullmatch("signer [0-9]+", name):
                out[int(name[7:])] = bytes.fromhex(value) if re.fullmatch("[0-9a-f]{64}", value) else None
        return out or None

    def key(self):
        """A node and the key it signs with from here on."""
        resource = parts(self.fields[0x07])
        if self.told and self.action == "node.set_signing_key" and resource[0] == "node":
            return int(resource[1]), hash_of(dict(self.details).get("signing_key"))
        return None

    def check_signature(self, keys):
        signature = self.fields.get(0x18)
        if signature is None:
            return
        content = dict(self.details).get("content", "")
        if len(signature) != 72 or not re.fullmatch("[0-9a-f]{64}", content):
            raise Fault("EVENT_SIGNATURE_INVALID", "its form")
        node = int.from_bytes(signature[:8], "big")
        if node not in keys:
            return
        message = b"only1mcp event 1\n"
        values = {0x04: 0, 0x06: 0, 0x07: 0, 0x0D: signature[:8], 0x0E: 0, 0x19: bytes.fromhex(content)}
        for tag, value in values.items():
            value = value or self.fields[tag]
            message += bytes([tag]) + len(value).to_bytes(4, "big") + value
        if not verifies(keys[node], message, signature[8:]):
            raise Fault("EVENT_SIGNATURE_INVALID", f"node {node}")


class Expiries:
    """Payloads that were dropped, held against the events that record it."""

    def __init__(self, start, tenant):
        self.start, self.everyone, self.named = start, tenant == "*", {}

    def place(self, index, digest, record):
        if record is None:
            if self.everyone:
                raise Fault("PAYLOAD_MISSING", f"event {index}")
            return
        if record <= index:
            raise Fault("PAYLOAD_MISSING", f"event {index}: its record stands before it")
        self.named.setdefault(record, []).append((index, digest))

    def event(self, index, event):
        gone = self.named.pop(index, None)
        if gone is None:
            return
        details = dict(event.details)
        told = event.told and event.action == "audit.drop_payloads" and 0x18 in event.fields
        bounds = [details.get(name, "") for name in ("first", "last", "dropped")]
        if not told or not all(re.fullmatch("[0-9]{1,20}", text) for text in bounds):
            raise Fault("PAYLOAD_MISSING", f"event {gone[0][0]}: {index} is no record")
        first, last, count = map(int, bounds)
        if gone[0][0] < first or gone[-1][0] > last or first <= self.start:
            raise Fault("PAYLOAD_MISSING", f"event {gone[0][0]}: {index} records {first} to {last}")
        digest = hashlib.sha3_256(b"".join(u64(at) + digest for at, digest in gone)).hexdigest()
        if len(gone) != count or details.get("digest") != digest:
            raise Fault("RETENTION_MISMATCH", f"{first} to {last}, recorded by {index}")

    def finish(self):
        for record in sorted(self.named):
            raise Fault("PAYLOAD_MISSING", f"event {self.named[record][0][0]}: {record} is not here")


# ---- checkpoints ----


def key_id(name, kind, key):
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + key).digest()[:4]


class Note:
    def __init__(self, text):
        need(isinstance(text, str) and len(text.encode()) <= 65536, "a note")
        need(not any(c < " " and c != "\n" for c in text), "a note's characters")
        at = text.rfind("\n\n")
        need(at >= 0 and text.endswith("\n") and at + 2 < len(text), "a note")
        self.text, lines = text[: at + 1], text[at + 2 : -1].split("\n")
        need(len(lines) <= 64, "too many signatures")
        self.signatures = []
        for line in lines:
            found = re.fullmatch("\u2014 ([^ ]+) ([^ ]+)", line)
            need(found, "a signature line")
            name, data = found[1], unbase64(found[2])
            need(len(data) > 4 and "+" not in name and not re.search(r"\s", name), "a signature line")
            self.signatures.append((name, data[:4], data[4:]))
        body = self.text.split("\n")
        need(len(body) == 5 and body[4] == "", "a checkpoint's lines")
        origin = re.fullmatch("only1mcp/([0-9a-f]{64})/([1-9][0-9]*)", body[0])
        need(origin, "an origin")
        self.origin = (origin[1], decimal(origin[2]))
        self.size, self.root = decimal(body[1]), unbase64(body[2])
        need(len(self.root) == 32, "a root")
        need(body[3].startswith("chain "), "a chain hash")
        self.chain = hash_of(body[3][6:])

    def check_signers(self, origin, signers):
        if self.origin[0] != origin[0]:
            raise Fault("OTHER_CLUSTER")
        if self.origin[1] != origin[1]:
            raise Fault("OTHER_EPOCH")
        name, by = f"only1mcp/{origin[0]}/{origin[1]}", set()
        for node, key in signers.items():
            if key is None:
                continue
            for line_name, line_id, signature in self.signatures:
                if line_name == name and line_id == key_id(name, 1, key):
                    if not verifies(key, self.text.encode(), signature):
                        raise Fault("SIGNATURE_INVALID", f"node {node}")
                    by.add(node)
        if len(by) <= len(signers) // 2:
            raise Fault("QUORUM_MISSING", f"{len(by)} of {len(signers)}")

    def check_witness(self, vkeys):
        for vkey in vkeys:
            name, told_id, data = vkey.split("+", 2)
            key = unbase64(data)
            need(key[:1] == b"\4" and len(key) == 33 and key_id(name, 4, key[1:]).hex() == told_id, "a verifier key")
            found = False
            for line_name, line_id, signature in self.signatures:
                if line_name == name and line_id.hex() == told_id:
                    seconds = int.from_bytes(signature[:8], "big")
                    message = f"cosignature/v1\ntime {seconds}\n{self.text}".encode()
                    if not verifies(key[1:], message, signature[8:]):
                        raise Fault("SIGNATURE_INVALID", name)
                    found = True
            if not found:
                raise Fault("WITNESS_MISSING", name)


class Keys:
    def __init__(self, text):
        file = from_json(text)
        need(file.get("format") == "only1mcp-keys-1", "keys: the format")
        hash_of(file.get("cluster_id"))
        self.origin = (file["cluster_id"], number(file.get("epoch")))
        self.index, self.signers = number(file.get("index")), {}
        need(isinstance(file.get("signers"), list) and file["signers"], "keys: no signers")
        for signer in file["signers"]:
            node, key = number(signer.get("node")), signer.get("key")
            need(node not in self.signers, "keys: a node twice")
            self.signers[node] = None if key is None else hash_of(key)


# ---- files ----


def check_proof(text, keys, receipt, witnesses):
    file = from_json(text)
    need(file.get("format") == "only1mcp-proof-1", "the format")
    index, note_text = number(file.get("index")), file.get("checkpoint")
    previous, digest, own = (hash_of(file.get(name)) for name in ("previous", "digest", "hash"))
    path = path_of(file.get("path"))
    data = None if file.get("bytes") is None else bytes_of(file["bytes"])
    if receipt and (number(receipt.get("audit_index")) != index or receipt.get("event_hash") != own.hex()):
        raise Fault("RECEIPT_MISMATCH")
    if link(previous, index, digest) != own:
        raise Fault("CHAIN_MISMATCH")
    if data is not None:
        if hashlib.sha3_256(data).digest() != digest:
            raise Fault("EDITED")
        Event(data)
    note = Note(note_text)
    note.check_signers(keys.origin, keys.signers)
    if not 1 <= index <= note.size:
        raise Fault("NOT_COVERED")
    if included(index - 1, note.size, leaf(index, digest), path) != note.root:
        raise Fault("INCLUSION_INVALID")
    if index == note.size and note.chain != own:
        raise Fault("CHAIN_MISMATCH")
    note.check_witness(witnesses)
    return f"event {index} of {note.size}"


def check_consistency(text, keys, witnesses):
    file = from_json(text)
    need(file.get("format") == "only1mcp-consistency-1", "the format")
    path, old, new = path_of(file.get("path")), None, None
    old = Note(file.get("old"))
    old.check_signers(keys.origin, keys.signers)
    new = Note(file.get("new"))
    new.check_signers(keys.origin, keys.signers)
    if old.size > new.size:
        raise Fault("ROLLED_BACK")
    if old.size == new.size and old.root != new.root:
        raise Fault("FORKED")
    if not is_consistent((old.size, old.root), (new.size, new.root), path):
        raise Fault("CONSISTENCY_INVALID")
    new.check_witness(witnesses)
    return f"{old.size} events are the beginning of {new.size}"


def check_export(text, keys, checkpoints, receipts, witnesses):
    need(text.endswith("\n"), "the file was cut in a line")
    lines = [from_json(line) for line in text[:-1].split("\n")]
    header, lines = lines[0], lines[1:]
    need(header.get("format") == "only1mcp-audit-1", "the format")
    cluster, epoch = hash_of(header.get("cluster_id")), number(header.get("epoch"))
    start, end = header.get("start"), number(header.get("end_index"))
    need(isinstance(start, dict), "start")
    begin, begin_hash = number(start.get("index")), hash_of(start.get("hash"))
    need(begin > 0 or begin_hash == bytes(32), "the hash before the first event")
    tenant, log_time = header.get("tenant"), number(header.get("log_time_ms"))
    need(isinstance(tenant, str), "tenant")
    trailer = lines.pop() if lines and "signed" in lines[-1] else None
    frontier = Frontier(begin, path_of(header.get("frontier", [])))
    known = {node: key for node, key in (keys.signers if keys else {}).items() if key}
    changes, places, records = [], {begin: (begin_hash, frontier.root())}, hashlib.sha256()
    index, hash, expiries = begin, begin_hash, Expiries(begin, tenant)
    for at, line in enumerate(lines):
        found, digest, own = number(line.get("index")), hash_of(line.get("digest")), hash_of(line.get("hash"))
        if found != index + 1:
            if found <= index:
                raise Fault("INSERTED", f"event {found} stands there again, or before its turn")
            later = any(other.get("index") == index + 1 for other in lines[at:])
            raise Fault("MOVED" if later else "DELETED", f"event {index + 1}")
        data = None if line.get("bytes") is None else bytes_of(line["bytes"])
        gone = line.get("expired")
        need(gone is None or isinstance(gone, dict), "an expired payload")
        if data is not None and hashlib.sha3_256(data).digest() != digest:
            raise Fault("EDITED", f"event {found}")
        if link(hash, found, digest) != own:
            raise Fault("CHAIN_BROKEN", f"event {found}")
        index, hash = found, own
        frontier.append(leaf(index, digest))
        places[index] = (hash, frontier)
        if data is None:
            expiries.place(index, digest, None if gone is None else number(gone.get("record")))
        else:
            need(gone is None, "an event with bytes that is said to be expired")
            event = Event(data)
            if event.key():
                known[event.key()[0]] = event.key()[1]
            event.check_signature(known)
            expiries.event(index, event)
            if event.signers():
                changes.append((index, event.signers()))
        places[index] = (hash, frontier.root())
        records.update(u64(index) + digest + own + (b"\0" if data is None else b"\1"))
    if index != end:
        raise Fault("TRUNCATED", f"{index} instead of {end}")
    expiries.finish()
    notes = [(Note(text), True) for text in checkpoints]
    if keys:
        if trailer is None:
            raise Fault("EXPORT_UNSIGNED")
        signed = trailer["signed"]
        need(isinstance(signed, dict), "the last line")
        node, key = number(signed.get("node")), hash_of(signed.get("key"))
        message = b"only1mcp export 1\n" + cluster + u64(epoch) + u64(begin) + begin_hash + u64(end)
        message += u64(log_time) + len(tenant.encode()).to_bytes(4, "big") + tenant.encode() + records.digest()
        if known.get(node) != key or not verifies(key, message, bytes_of(signed.get("signature"))):
            raise Fault("EXPORT_SIGNATURE_INVALID", f"node {node}")
        if trailer.get("checkpoint") is not None:
            notes.append((Note(trailer["checkpoint"]), False))
        signers, done = keys.signers, keys.index
        for note, given in sorted(notes, key=lambda pair: pair[0].size):
            note.check_signers(keys.origin, signers)
            if given:
                note.check_witness(witnesses)
            if note.size < begin:
                raise Fault("NOT_COVERED", f"checkpoint {note.size}")
            if note.size > index:
                raise Fault("TRUNCATED", f"checkpoint {note.size}")
            if places[note.size] != (note.chain, note.root):
                raise Fault("FORKED", f"checkpoint {note.size}")
            for changed, told in changes:
                if done < changed <= note.size:
                    signers, done = told, changed
    for receipt in receipts:
        at = number(receipt.get("audit_index"))
        if at < begin:
            raise Fault("NOT_COVERED", f"receipt {at}")
        if at > index:
            raise Fault("TRUNCATED", f"receipt {at}")
        if places[at][0].hex() != receipt.get("event_hash"):
            raise Fault("FORKED", f"receipt {at}")
    return f"{len(lines)} events, up to {index}"


def run(arguments):
    options = argparse.ArgumentParser()
    options.add_argument("what", choices=["proof", "consistency", "export"])
    options.add_argument("file")
    options.add_argument("--keys")
    for many in ("--receipt", "--checkpoint", "--witness"):
        options.add_argument(many, action="append", default=[])
    args = options.parse_args(arguments)

    def read(name):
        with open(name, encoding="utf-8", newline="") as file:
            return file.read()

    try:
        keys = Keys(read(args.keys)) if args.keys else None
        receipts = [from_json(read(name)) for name in args.receipt]
        text = read(args.file)
        if args.what == "export":
            said = check_export(text, keys, [read(name) for name in args.checkpoint], receipts, args.witness)
        elif keys is None:
            raise malformed("--keys is needed")
        elif args.what == "proof":
            said = check_proof(text, keys, receipts[0] if receipts else None, args.witness)
        else:
            said = check_consistency(text, keys, args.witness)
    except Fault as fault:
        return 1, str(fault)
    except UnicodeDecodeError:
        return 1, "MALFORMED: not UTF-8"
    return 0, f"valid: {said}"


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "many":
        with open(sys.argv[2], encoding="utf-8") as file:
            for line in file:
                print(run(json.loads(line))[1])
        return 0
    code, said = run(sys.argv[1:])
    print(said)
    return code


if __name__ == "__main__":
    sys.exit(main())
