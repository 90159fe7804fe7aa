from frames import question, say

question()
while True:
    say(b"\x5a" * (1 << 16))
