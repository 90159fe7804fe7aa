from frames import asleep, question_of, serve_attack

serve_attack(*[question_of(4)] * 5000)
asleep()
