"""Running, which knows no Django, judges defenses, attacks and certificates for the site, its workers and the command line.

    an unpacked folder     `staging` copies it where the sandbox may see it, and digests it
    the copy               `bench` reads its manifest, finds the images of the challenge and chooses its lane
    the lane               `lanes` opens a fresh model each time: in this process, or in a host (`warm` starts some ahead)
    a piece of the images  `defense` searches, verifies and certifies; `cell` judges what an attack in its `zone` claims
    its report             `merging` makes one outcome of the pieces' reports, and of the shards' in the same way

Entry points: `defense.run_defense` (the official evaluation), `attack.run_attack`, `attack.smoke` and `attack.replay_inputs`
(submitted attacks and stored inputs), `search.run_search` (one attack of the evaluator's own), `certificate.run_certificate`.
Each takes a `sandbox` and a `listening.Listener`, which hears progress and output and may cancel.
"""
