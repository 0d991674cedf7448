"""From a query to ranked document numbers: parameters, the kernels' calls, exact, approximate, calibrated."""
