"""From a query to ranked document numbers: parameters, exact and approximate search, calibration."""
