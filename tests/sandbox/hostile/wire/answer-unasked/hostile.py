from frames import frame, say, serve

say(frame("verdict", robust="1.0"))
serve()
