"""How memory and time grow with inner steps: laws, their words, and where one method overtakes another."""
