package config

import "strings"

// nearest picks the known key that a user most likely meant by an unknown one. A key beside the unknown one is
// preferred to one of the same name elsewhere, and that to one that only looks alike.
func nearest(unknown string, known []string) string {
	best, bestScore := "", int(^uint(0)>>1)
	parent, leaf := splitPath(unknown)
	for _, path := range known {
		p, l := splitPath(path)
		score := 2 * distance(leaf, l)
		if p != parent {
			score++
		}
		if strings.Contains(path, "[]") && !strings.Contains(unknown, "[]") {
			score++
		}
		if score = min(score, 2*distance(unknown, path)); score < bestScore {
			best, bestScore = path, score
		}
	}
	return best
}

// alike says whether somebody may have meant known who wrote key.
func alike(key, known string) bool { return distance(key, known) <= max(2, len(key)/3) }

func splitPath(path string) (parent, leaf string) {
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return "", path
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that turn a into b.
func distance(a, b string) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		cur[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			cur[j+1] = min(prev[j+1]+1, cur[j]+1, prev[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				cur[j+1] = min(cur[j+1], before[j-1]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
