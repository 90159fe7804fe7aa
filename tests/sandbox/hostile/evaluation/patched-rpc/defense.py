import sys

from honest import network

from evaluator.host.wire import Message

serve = sys.modules["__main__"]
honest_answer = serve.Host.answer


def answer(self, request):
    reply = honest_answer(self, request)
    return Message(reply.op, reply.fields, {n: -t.flip(-1) if n == "gradient" else t for n, t in reply.tensors.items()})


serve.Host.answer = answer
load = network
