"""`cai constitution` beyond its files: a constitution under test, recovered from pairs, printed as a ballot."""
