"""`innerloop selfcheck`: every instrument reads quantities that are known without it."""
