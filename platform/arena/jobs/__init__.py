"""One mechanism for judged work: trials and their shards are queued, leased, kept, merged, finished and swept here."""
