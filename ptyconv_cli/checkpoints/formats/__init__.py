"""The file formats, one module each, and the containers (HDF5, `.pt`) they are stored in. See docs/formats.md."""
