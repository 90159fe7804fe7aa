"""One mechanism for judged work: trials and their shards are queued, claimed, kept, merged, finished and swept here."""
