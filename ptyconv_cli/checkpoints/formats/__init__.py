"""The file formats, a module each, and the kinds of container that they are kept in."""
