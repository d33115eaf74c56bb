"""Video that a person films of their own hands becomes episodes: GoPro files in, pictures and motion out.

`look` reads what a file says of itself, `takes` puts chapters together, `wrong` says what speaks against a take,
`propose` cuts it, and `bring_in` makes an episode of each cut. What the camera knows of where it was and who was near
(GPS, sound, faces) stays outside.
"""
