"""The zoo: whole families of real models at their smallest, built without downloads."""
