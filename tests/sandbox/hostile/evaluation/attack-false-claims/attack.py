def attack(model, x, y, threat, budget):
    claim = 1.0 - x
    claim[0] = float("nan")
    claim[1] = -1.0
    claim[2] = 2.0
    return claim
