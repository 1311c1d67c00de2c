package protocol

// Documents are bodies of requests and replies that nothing but their endpoint knows: they are read and written as JSON
// there, and come and go in either format.

// DocumentJSON is a body of format f as JSON text, which shares no memory with it. It is bounded like a frame: 40001 when
// it cannot be read, 40009 when it is too long.
func DocumentJSON(f Format, body []byte) ([]byte, *ErrorInfo) {
	d, err := newDecoder(f, body)
	if err != nil {
		return nil, bodyError(err)
	}
	w := writer{f: JSON}
	whole := transcode(&w, d.src)
	if err := d.finish(); err != nil {
		return nil, bodyError(err)
	}
	if !whole {
		return nil, Errorf(CodeBadBody, "the body holds what JSON has no form for, such as binary data")
	}
	return w.b, nil
}

// AppendDocument appends a JSON text, which has to be valid, in format f.
func AppendDocument(dst []byte, f Format, text []byte) []byte {
	if f == JSON {
		return append(dst, text...)
	}
	w := writer{b: dst, f: f}
	transcode(&w, newSource(JSON, text))
	return w.b
}
