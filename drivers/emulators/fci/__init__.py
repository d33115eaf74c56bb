"""A Franka arm and hand at the other end of the Franka Control Interface, for rehearsing a cell without one."""
