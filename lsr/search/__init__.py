"""How a query is answered: encoded, filtered, ranked, explained."""
