package identity

// MaxPlaces bounds Remembered.
const MaxPlaces = maxPlaces

// Remembered returns how many addresses the map remembers.
func (m *Map) Remembered() int { return len(m.places) }
