"""The pictures: what each panel shows, and how it is drawn. Loads matplotlib without pyplot."""
