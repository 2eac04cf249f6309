package config

// tlsSettings are the settings of TLS.
var tlsSettings = []Def{
	{Name: "ssl.allow.dn.changes", Type: Boolean, Default: "false"},
	{Name: "ssl.allow.san.changes", Type: Boolean, Default: "false"},
	{Name: "ssl.cipher.suites", Type: List, Check: listOf{}, Update: PerBroker},
	{Name: "ssl.client.auth", Type: String, Default: "none", Check: words("required", "requested", "none"), Update: PerBroker},
	{Name: "ssl.enabled.protocols", Type: List, Default: "TLSv1.2,TLSv1.3", Check: listOf{}, Update: PerBroker},
	{Name: "ssl.endpoint.identification.algorithm", Type: String, Default: "https", Update: PerBroker},
	{Name: "ssl.engine.factory.class", Type: Class, Null: true, Update: PerBroker},
	{Name: "ssl.key.password", Type: Password, Null: true, Update: PerBroker},
	{Name: "ssl.keymanager.algorithm", Type: String, Default: "SunX509", Update: PerBroker},
	{Name: "ssl.keystore.certificate.chain", Type: Password, Null: true, Update: PerBroker},
	{Name: "ssl.keystore.key", Type: Password, Null: true, Update: PerBroker},
	{Name: "ssl.keystore.location", Type: String, Null: true, Update: PerBroker},
	{Name: "ssl.keystore.password", Type: Password, Null: true, Update: PerBroker},
	{Name: "ssl.keystore.type", Type: String, Default: "JKS", Update: PerBroker},
	{Name: "ssl.principal.mapping.rules", Type: String, Default: "DEFAULT"},
	{Name: "ssl.protocol", Type: String, Default: "TLSv1.3", Update: PerBroker},
	{Name: "ssl.provider", Type: String, Null: true, Update: PerBroker},
	{Name: "ssl.secure.random.implementation", Type: String, Null: true, Update: PerBroker},
	{Name: "ssl.trustmanager.algorithm", Type: String, Default: "PKIX", Update: PerBroker},
	{Name: "ssl.truststore.certificates", Type: Password, Null: true, Update: PerBroker},
	{Name: "ssl.truststore.location", Type: String, Null: true, Update: PerBroker},
	{Name: "ssl.truststore.password", Type: Password, Null: true, Update: PerBroker},
	{Name: "ssl.truststore.type", Type: String, Default: "JKS", Update: PerBroker},
}
