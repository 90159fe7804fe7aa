"""People, teams and the tokens that scripts use."""
