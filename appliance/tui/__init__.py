"""The screen that an operator uses all day. It keeps nothing: everything shown is read again, and it may be killed."""
