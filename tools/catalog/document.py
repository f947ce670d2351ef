def policy() -> str: return ""
