"""Pictures and pages of what was judged: heat maps, film strips, one self-contained HTML page. Pillow and text, nothing drawn elsewhere."""
