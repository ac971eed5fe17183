"""The page to send: one HTML file with the answer, the pictures, and the reconstruction itself to look at."""
