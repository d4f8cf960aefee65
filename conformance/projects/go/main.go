package main

// version @VERSION@
func main() {}
