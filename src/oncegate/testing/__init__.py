"""For the tests of those who build on oncegate: checks for a ledger of your own, and faults to put before any."""
