"""Labels that are probably wrong: errors, copies that disagree, and items that are like no other."""
