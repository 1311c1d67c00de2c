package memnet

// fifo is a queue that keeps its room: most of them fill and empty again all the time. The zero value is empty.
type fifo[T any] struct {
	items []T
	first int
}

func (q *fifo[T]) len() int { return len(q.items) - q.first }

func (q *fifo[T]) push(x T) { q.items = append(q.items, x) }

// head is the oldest item. There must be one.
func (q *fifo[T]) head() *T { return &q.items[q.first] }

// pop drops the oldest item.
func (q *fifo[T]) pop() {
	var zero T
	q.items[q.first] = zero
	if q.first++; q.first == len(q.items) {
		q.items, q.first = q.items[:0], 0
	}
}

// clear drops all, and the room.
func (q *fifo[T]) clear() { *q = fifo[T]{} }
