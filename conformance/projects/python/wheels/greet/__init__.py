def greeting() -> str:
    return "hello\n"
