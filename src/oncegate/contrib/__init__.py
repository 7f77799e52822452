"""oncegate in other projects' places: a storage for Django. Each module imports its project, so install that yourself."""
