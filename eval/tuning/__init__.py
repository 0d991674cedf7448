"""Search defaults chosen by a user's own judgements: settings, their values on judged queries, descent, folds."""
