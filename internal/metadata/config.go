package metadata

// Kafka's types of config resources.
const (
	ResourceTopic         int8 = 2
	ResourceBroker        int8 = 4
	ResourceBrokerLogger  int8 = 8
	ResourceClientMetrics int8 = 16
	ResourceGroup         int8 = 32
)

// Resource names what configs belong to.
type Resource struct {
	Type int8
	Name string
}

// resourceKey orders resources by type, then by name.
func resourceKey(typ int8, name string) string { return string([]byte{byte(typ)}) + name }

func parseResourceKey(key string) Resource { return Resource{int8(key[0]), key[1:]} }
