#!/usr/bin/env python3
"""Record one SMB client run as a capture file.

    record.py UPSTREAM_HOST:PORT OUT.txt [--user NAME%PASSWORD] [--cap BYTES] -- COMMAND...

Listens on a free port of 127.0.0.1, runs COMMAND with every `{port}` in its arguments replaced by that port, relays
each connection to the server and writes one SMB message per line (see README.md). A second connection of the same
run goes to OUT-2.txt, and so on.
"""
import argparse
import pathlib
import select
import socket
import subprocess
import sys
import threading

# A longer message is bulk payload: only its header is kept, in a comment.
LONGEST = 8 << 10


class Capture:
    """One connection's file; lines are kept in the order in which the proxy saw the messages complete."""

    def __init__(self, path, header, cap):
        self.path, self.header, self.cap = path, header, cap
        self.lines, self.size, self.cut = [], 0, 0

    def message(self, side, pdu):
        line = f"{side} {pdu.hex()}"
        if len(pdu) > LONGEST:
            line = f"# left out: {side}, {len(pdu)} bytes, {pdu[:64].hex()}"
        if self.cut or self.size + len(line) + 1 > self.cap:
            self.cut += 1
            return
        self.size += len(line) + 1
        self.lines.append(line)

    def save(self):
        tail = [f"# cut: {self.cut} more messages"] if self.cut else ["# end"]
        self.path.write_text("\n".join(self.header + self.lines + tail) + "\n")


def take_frames(buffer):
    """Split complete frames (zero byte, 24-bit length, message) off the front of `buffer`."""
    while len(buffer) >= 4:
        length = int.from_bytes(buffer[1:4], "big")
        if len(buffer) < 4 + length:
            return
        yield bytes(buffer[4 : 4 + length])
        del buffer[: 4 + length]


def relay(client, upstream, capture):
    server = socket.create_connection(upstream)
    ends = {client: ("C", server, bytearray()), server: ("S", client, bytearray())}
    try:
        while True:
            for end in select.select(list(ends), [], [])[0]:
                data = end.recv(1 << 16)
                if not data:
                    return
                side, other, buffer = ends[end]
                buffer += data
                # Recorded before it is passed on: an answer can then never stand above its request.
                for pdu in take_frames(buffer):
                    capture.message(side, pdu)
                other.sendall(data)
    except OSError:
        return
    finally:
        client.close()
        server.close()
        capture.save()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("upstream")
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--user", default="alice%secret1")
    parser.add_argument("--cap", type=int, default=140_000)
    parser.add_argument("--note", action="append", default=[])
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    host, port = args.upstream.rsplit(":", 1)

    listener = socket.create_server(("127.0.0.1", 0))
    command = [word.replace("{port}", str(listener.getsockname()[1])) for word in args.command]
    threads = []

    def accept():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            number = len(threads) + 1
            path = args.out if number == 1 else args.out.with_stem(f"{args.out.stem}-{number}")
            header = [f"# user: {args.user}", f"# connection: {number}"] + [f"# {note}" for note in args.note]
            thread = threading.Thread(target=relay, args=(client, (host, int(port)), Capture(path, header, args.cap)))
            threads.append(thread)
            thread.start()

    threading.Thread(target=accept, daemon=True).start()
    status = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=120).returncode
    listener.close()
    for thread in threads:
        thread.join(timeout=10)
    sys.exit(status)


if __name__ == "__main__":
    main()
