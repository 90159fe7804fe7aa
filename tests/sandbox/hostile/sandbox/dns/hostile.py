import os
import socket

from attempts import BAIT, attempt, done

query = bytes.fromhex("0001010000010000000000000765786d61706c6503636f6d0000010001")


def ask(server: str, port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.sendto(query, (server, port))


for server, port in (("127.0.0.1", BAIT["ports"]["dns"]), ("8.8.8.8", 53), ("127.0.0.53", 53)):
    attempt(f"ask {server}", lambda server=server, port=port: ask(server, port))
attempt("look up a name", lambda: socket.getaddrinfo("example.com", 80))
if os.path.exists("/etc/resolv.conf"):
    attempt("read the name servers", lambda: open("/etc/resolv.conf").read().strip() or int("none told"))
done()
