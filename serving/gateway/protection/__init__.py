"""What stands before the routes: who may ask, from where, how much and how often."""
