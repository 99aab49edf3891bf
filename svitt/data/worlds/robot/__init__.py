"""The world of robots: Meta-World's scripted policies at work, seen by a camera of our own."""
