import socket

from attempts import BAIT, attempt, done

for address in (("127.0.0.1", BAIT["ports"]["redis"]), ("127.0.0.1", 6379), ("0.0.0.0", 6379)):
    attempt(f"connect {address}", lambda address=address: socket.create_connection(address, timeout=1).close())
done()
