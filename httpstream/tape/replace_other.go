//go:build !linux

package tape

func swap(newDir, dir string) (old string, err error) { return swapInTwoSteps(newDir, dir) }
