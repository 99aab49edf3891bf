"""The egocentric world: an agent's own view of its chores in a house of rooms, with narrated moments."""
