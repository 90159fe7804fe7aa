from frames import asleep, serve_attack

serve_attack()
asleep()
