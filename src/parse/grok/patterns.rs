//! The named patterns that grok has from the start: the names, and the names of fields, that Logstash's legacy set has, so that patterns which
//! were written for it can be taken over. What they match is written for an engine without lookarounds: where Logstash's look at what is
//! around a number or an address, these have word boundaries or nothing. `ZEEK_*` and `BIND9_QUERYLOGBASE` have the fields of ECS there
//! too.

/// The pattern of a name.
pub fn standard(name: &str) -> Option<&'static str> {
    GROUPS.iter().flat_map(|group| group.iter()).find(|(known, _)| *known == name).map(|(_, pattern)| *pattern)
}

/// All names.
pub fn names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().flat_map(|group| group.iter()).map(|(name, _)| *name)
}

type Group = &'static [(&'static str, &'static str)];

const GROUPS: [Group; 15] =
    [TEXT, NET, PATHS, TIMES, SYSLOG, HTTPD, JAVA, AWS, PROXIES, STORES, MAIL_DNS, ZEEK, NAGIOS, BACULA, FIREWALLS];

/// Words, numbers and quotes.
const TEXT: Group = &[
    ("USERNAME", r"[A-Za-z0-9._-]+"),
    ("USER", "%{USERNAME}"),
    ("INT", "[+-]?[0-9]+"),
    ("BASE10NUM", r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"),
    ("NUMBER", "%{BASE10NUM}"),
    ("BASE16NUM", "[+-]?(?:0x)?[0-9A-Fa-f]+"),
    ("BASE16FLOAT", r"[+-]?(?:0x)?(?:[0-9A-Fa-f]+(?:\.[0-9A-Fa-f]*)?|\.[0-9A-Fa-f]+)(?-u:\b)"),
    ("POSINT", r"(?-u:\b)[1-9][0-9]*(?-u:\b)"),
    ("NONNEGINT", r"(?-u:\b)[0-9]+(?-u:\b)"),
    ("WORD", r"\b\w+\b"),
    ("NOTSPACE", r"\S+"),
    ("SPACE", r"\s*"),
    ("DATA", ".*?"),
    ("GREEDYDATA", ".*"),
    ("QUOTEDSTRING", r#""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`"#),
    ("QS", "%{QUOTEDSTRING}"),
    ("UUID", "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"),
    // RFC 2141: a namespace of up to 32 characters, and what is in it; slashes and the like, as URNs have them in practice.
    ("URN", r"urn:[0-9A-Za-z][0-9A-Za-z-]{0,31}:(?:%[0-9A-Fa-f]{2}|[0-9A-Za-z()+,.:=@;$_!*'/?#-])+"),
    (
        "LOGLEVEL",
        "[Aa]lert|ALERT|[Tt]race|TRACE|[Dd]ebug|DEBUG|[Nn]otice|NOTICE|[Ii]nfo(?:rmation)?|INFO(?:RMATION)?|[Ww]arn(?:ing)?|WARN(?:ING)?|\
         [Ee]rr(?:or)?|ERR(?:OR)?|[Cc]rit(?:ical)?|CRIT(?:ICAL)?|[Ff]atal|FATAL|[Ss]evere|SEVERE|EMERG(?:ENCY)?|[Ee]merg(?:ency)?",
    ),
];

/// Addresses and names of hosts.
const NET: Group = &[
    ("MAC", "%{CISCOMAC}|%{WINDOWSMAC}|%{COMMONMAC}"),
    ("CISCOMAC", r"(?:[A-Fa-f0-9]{4}\.){2}[A-Fa-f0-9]{4}"),
    ("WINDOWSMAC", "(?:[A-Fa-f0-9]{2}-){5}[A-Fa-f0-9]{2}"),
    ("COMMONMAC", "(?:[A-Fa-f0-9]{2}:){5}[A-Fa-f0-9]{2}"),
    ("_HEX4", "[0-9A-Fa-f]{1,4}"),
    ("_OCTET", "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"),
    // All of it, or two colons in place of some of it; an IPv4 address can be the end of either.
    (
        "IPV6",
        "(?:(?:%{_HEX4}:){7}%{_HEX4}|(?:%{_HEX4}:){6}%{IPV4}|(?:%{_HEX4}(?::%{_HEX4}){0,6})?::(?:(?:%{_HEX4}:){0,5}%{IPV4}|%{_HEX4}(?::%{_HEX4}){0,6})?)\
         (?:%[0-9A-Za-z._-]+)?",
    ),
    ("IPV4", r"(?-u:\b)%{_OCTET}(?:\.%{_OCTET}){3}(?-u:\b)"),
    ("IP", "%{IPV6}|%{IPV4}"),
    ("HOSTNAME", r"(?-u:\b)[0-9A-Za-z][0-9A-Za-z-]*(?:\.[0-9A-Za-z][0-9A-Za-z-]*)*(?:\.|(?-u:\b))"),
    ("IPORHOST", "%{IP}|%{HOSTNAME}"),
    ("HOSTPORT", "%{IPORHOST}:%{POSINT}"),
    ("EMAILLOCALPART", r"[0-9A-Za-z!#$%&'*+/=?^_`{|}~-]{1,64}(?:\.[0-9A-Za-z!#$%&'*+/=?^_`{|}~-]{1,62}){0,63}"),
    ("EMAILADDRESS", "%{EMAILLOCALPART}@%{HOSTNAME}"),
];

/// Paths and addresses of the web.
const PATHS: Group = &[
    ("PATH", "%{UNIXPATH}|%{WINPATH}"),
    ("UNIXPATH", r"(?:/[\w%!$@:.,+~-]*)+"),
    ("TTY", "/dev/(?:pts|tty(?:[pq])?)(?:[a-z]*/?[0-9]+)?"),
    ("WINPATH", r"(?:[A-Za-z]+:|\\)(?:\\[^\\?*]*)+"),
    ("URIPROTO", r"[A-Za-z](?:[A-Za-z0-9+.-]+)+"),
    ("URIHOST", "%{IPORHOST}(?::%{POSINT:port})?"),
    ("URIPATH", r"(?:/[A-Za-z0-9$.+!*'(){},~:;=@#%&_-]*)+"),
    ("URIQUERY", r"[A-Za-z0-9$.+!*'|(){},~@#%&/=:;_?\[\]<>-]*"),
    ("URIPARAM", r"\?%{URIQUERY}"),
    ("URIPATHPARAM", r"%{URIPATH}(?:\?%{URIQUERY})?"),
    ("URI", "%{URIPROTO}://(?:%{USER}(?::[^@]*)?@)?(?:%{URIHOST})?(?:%{URIPATHPARAM})?"),
];

/// Dates and times.
const TIMES: Group = &[
    (
        "MONTH",
        r"(?-u:\b)(?:[Jj]an(?:uary|uar)?|[Ff]eb(?:ruary|ruar)?|[Mm](?:a|ä)?r(?:ch|z)?|[Aa]pr(?:il)?|[Mm]a(?:y|i)?|[Jj]un(?:e|i)?|[Jj]ul(?:y|i)?|[Aa]ug(?:ust)?|[Ss]ep(?:tember)?|[Oo](?:c|k)?t(?:ober)?|[Nn]ov(?:ember)?|[Dd]e(?:c|z)(?:ember)?)(?-u:\b)",
    ),
    ("MONTHNUM", "0?[1-9]|1[0-2]"),
    ("MONTHNUM2", "0[1-9]|1[0-2]"),
    ("MONTHDAY", "0[1-9]|[12][0-9]|3[01]|[1-9]"),
    ("DAY", "Mon(?:day)?|Tue(?:sday)?|Wed(?:nesday)?|Thu(?:rsday)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?"),
    ("YEAR", "(?:[0-9]{2}){1,2}"),
    ("HOUR", "2[0-3]|[01]?[0-9]"),
    ("MINUTE", "[0-5][0-9]"),
    // 60 is a leap second.
    ("SECOND", "(?:[0-5]?[0-9]|60)(?:[:.,][0-9]+)?"),
    ("TIME", "%{HOUR}:%{MINUTE}:%{SECOND}"),
    ("DATE_US", "%{MONTHNUM}[/-]%{MONTHDAY}[/-]%{YEAR}"),
    ("DATE_EU", "%{MONTHDAY}[./-]%{MONTHNUM}[./-]%{YEAR}"),
    ("ISO8601_TIMEZONE", "Z|[+-]%{HOUR}(?::?%{MINUTE})"),
    ("ISO8601_SECOND", "%{SECOND}"),
    ("TIMESTAMP_ISO8601", "%{YEAR}-%{MONTHNUM}-%{MONTHDAY}[T ]%{HOUR}:?%{MINUTE}(?::?%{SECOND})?%{ISO8601_TIMEZONE}?"),
    ("DATE", "%{DATE_US}|%{DATE_EU}"),
    ("DATESTAMP", "%{DATE}[- ]%{TIME}"),
    ("TZ", "[APMCE][SD]T|UTC"),
    ("DATESTAMP_RFC822", "%{DAY} %{MONTH} %{MONTHDAY} %{YEAR} %{TIME} %{TZ}"),
    ("DATESTAMP_RFC2822", "%{DAY}, %{MONTHDAY} %{MONTH} %{YEAR} %{TIME} %{ISO8601_TIMEZONE}"),
    ("DATESTAMP_OTHER", "%{DAY} %{MONTH} %{MONTHDAY} %{TIME} %{TZ} %{YEAR}"),
    ("DATESTAMP_EVENTLOG", "%{YEAR}%{MONTHNUM2}%{MONTHDAY}%{HOUR}%{MINUTE}%{SECOND}"),
    ("HTTPDATE", "%{MONTHDAY}/%{MONTH}/%{YEAR}:%{TIME} %{INT}"),
    ("HTTPDERROR_DATE", "%{DAY} %{MONTH} %{MONTHDAY} %{TIME} %{YEAR}"),
    ("HTTPDERRORDATE", "%{HTTPDERROR_DATE}"),
    ("CISCOTIMESTAMP", "%{MONTH} +%{MONTHDAY}(?: %{YEAR})? %{TIME}"),
];

/// Syslog, and what writes to it.
const SYSLOG: Group = &[
    ("SYSLOGTIMESTAMP", "%{MONTH} +%{MONTHDAY} %{TIME}"),
    // Printable ASCII but for brackets.
    ("PROG", r"[\x21-\x5A\x5C\x5E-\x7E]+"),
    ("SYSLOGPROG", r"%{PROG:program}(?:\[%{POSINT:pid}\])?"),
    ("SYSLOGHOST", "%{IPORHOST}"),
    ("SYSLOGFACILITY", "<%{NONNEGINT:facility}.%{NONNEGINT:priority}>"),
    ("SYSLOGBASE", "%{SYSLOGTIMESTAMP:timestamp} (?:%{SYSLOGFACILITY} )?%{SYSLOGHOST:logsource} %{SYSLOGPROG}:"),
    (
        "SYSLOGBASE2",
        "(?:%{SYSLOGTIMESTAMP:timestamp}|%{TIMESTAMP_ISO8601:timestamp8601})(?: %{SYSLOGFACILITY})?(?: %{SYSLOGHOST:logsource})?(?: %{SYSLOGPROG}:)?",
    ),
    ("SYSLOGLINE", "%{SYSLOGBASE2} %{GREEDYDATA:message}"),
    ("SYSLOG5424PRINTASCII", "[!-~]+"),
    ("SYSLOG5424PRI", "<%{NONNEGINT:syslog5424_pri}>"),
    ("SYSLOG5424SD", r"(?:\[%{DATA}\])+"),
    (
        "SYSLOG5424BASE",
        "%{SYSLOG5424PRI}%{NONNEGINT:syslog5424_ver} +(?:%{TIMESTAMP_ISO8601:syslog5424_ts}|-) +(?:%{IPORHOST:syslog5424_host}|-) \
         +(?:%{SYSLOG5424PRINTASCII:syslog5424_app}|-) +(?:%{SYSLOG5424PRINTASCII:syslog5424_proc}|-) \
         +(?:%{SYSLOG5424PRINTASCII:syslog5424_msgid}|-) +(?:%{SYSLOG5424SD:syslog5424_sd}|-|)",
    ),
    ("SYSLOG5424LINE", "%{SYSLOG5424BASE} +%{GREEDYDATA:syslog5424_msg}"),
    (
        "SYSLOGPAMSESSION",
        r"%{SYSLOGBASE} (?<message>%{WORD:pam_module}\(%{DATA:pam_caller}\): session %{WORD:pam_session_state} for user %{USERNAME:username}(?: by %{GREEDYDATA:pam_by})?)",
    ),
    ("CRON_ACTION", "[A-Z ]+"),
    ("CRONLOG", r"%{SYSLOGBASE} \(%{USER:user}\) %{CRON_ACTION:action} \(%{DATA:message}\)"),
    ("MCOLLECTIVE", r"., \[%{TIMESTAMP_ISO8601:timestamp} #%{POSINT:pid}\]%{SPACE}%{LOGLEVEL:event_level}"),
    ("MCOLLECTIVEAUDIT", "%{TIMESTAMP_ISO8601:timestamp}:"),
];

/// The web server of Apache.
const HTTPD: Group = &[
    // Without the lengths that addresses may have, which would make it a hundred times as large.
    ("HTTPDUSER", r"[0-9A-Za-z!#$%&'*+/=?^_`{|}~.-]+@%{HOSTNAME}|%{USER}"),
    ("_METHOD", "[0-9A-Za-z_]+"),
    (
        "HTTPD_COMMONLOG",
        r#"%{IPORHOST:clientip} %{HTTPDUSER:ident} %{HTTPDUSER:auth} \[%{HTTPDATE:timestamp}\] "(?:%{_METHOD:verb} %{NOTSPACE:request}(?: HTTP/%{NUMBER:httpversion})?|%{DATA:rawrequest})" (?:-|%{NUMBER:response}) (?:-|%{NUMBER:bytes})"#,
    ),
    ("HTTPD_COMBINEDLOG", "%{HTTPD_COMMONLOG} %{QS:referrer} %{QS:agent}"),
    ("COMMONAPACHELOG", "%{HTTPD_COMMONLOG}"),
    ("COMBINEDAPACHELOG", "%{HTTPD_COMBINEDLOG}"),
    (
        "HTTPD20_ERRORLOG",
        r"\[%{HTTPDERROR_DATE:timestamp}\] \[%{LOGLEVEL:loglevel}\] (?:\[client %{IPORHOST:clientip}\] )?%{GREEDYDATA:message}",
    ),
    (
        "HTTPD24_ERRORLOG",
        r"\[%{HTTPDERROR_DATE:timestamp}\] \[(?:%{WORD:module})?:%{LOGLEVEL:loglevel}\] \[pid %{POSINT:pid}(?::tid %{NUMBER:tid})?\](?: \(%{POSINT:proxy_errorcode}\)%{DATA:proxy_message}:)?(?: \[client %{IPORHOST:clientip}:%{POSINT:clientport}\])?(?: %{DATA:errorcode}:)? %{GREEDYDATA:message}",
    ),
    ("HTTPD_ERRORLOG", "%{HTTPD20_ERRORLOG}|%{HTTPD24_ERRORLOG}"),
];

/// Java, Ruby, and what is built with them.
const JAVA: Group = &[
    ("JAVACLASS", r"(?:[A-Za-z$_][A-Za-z$_0-9]*\.)*[A-Za-z$_][A-Za-z$_0-9]*"),
    ("JAVAFILE", "[A-Za-z$_0-9. -]+"),
    ("JAVAMETHOD", "<(?:cl)?init>|[A-Za-z$_][A-Za-z$_0-9]*"),
    (
        "JAVASTACKTRACEPART",
        r"%{SPACE}at %{JAVACLASS:class}\.%{JAVAMETHOD:method}\(%{JAVAFILE:file}(?::%{NUMBER:line})?\)",
    ),
    ("JAVATHREAD", "[A-Z]{2}-Processor[0-9]+"),
    ("JAVALOGMESSAGE", ".*"),
    ("CATALINA_DATESTAMP", "%{MONTH} %{MONTHDAY}, 20%{YEAR} %{HOUR}:?%{MINUTE}(?::?%{SECOND}) (?:AM|PM)"),
    ("TOMCAT_DATESTAMP", "20%{YEAR}-%{MONTHNUM}-%{MONTHDAY} %{HOUR}:?%{MINUTE}(?::?%{SECOND}) %{ISO8601_TIMEZONE}"),
    ("CATALINALOG", "%{CATALINA_DATESTAMP:timestamp} %{JAVACLASS:class} %{JAVALOGMESSAGE:logmessage}"),
    (
        "TOMCATLOG",
        r"%{TOMCAT_DATESTAMP:timestamp} \| %{LOGLEVEL:level} \| %{JAVACLASS:class} - %{JAVALOGMESSAGE:logmessage}",
    ),
    ("MAVEN_VERSION", r"(?:[0-9]+\.)?(?:[0-9]+\.)?(?:\*|[0-9]+)(?:[.-](?:RELEASE|SNAPSHOT))?"),
    ("RUBY_LOGLEVEL", "DEBUG|FATAL|ERROR|WARN|INFO"),
    (
        "RUBY_LOGGER",
        r"[DFEWI], \[%{TIMESTAMP_ISO8601:timestamp} #%{POSINT:pid}\] *%{RUBY_LOGLEVEL:loglevel} -- +%{DATA:progname}: %{GREEDYDATA:message}",
    ),
    ("RUUID", "[0-9A-Fa-f]{32}"),
    ("RCONTROLLER", r"(?<controller>[^#]+)#(?<action>\w+)"),
    (
        "RAILS3HEAD",
        r#"Started %{WORD:verb} "%{URIPATHPARAM:request}" for %{IPORHOST:clientip} at (?<timestamp>%{YEAR}-%{MONTHNUM}-%{MONTHDAY} %{HOUR}:%{MINUTE}:%{SECOND} %{ISO8601_TIMEZONE})"#,
    ),
    ("RPROCESSING", r"\W*Processing by %{RCONTROLLER} as (?<format>\S+)(?:\W*Parameters: \{%{DATA:params}\}\W*)?"),
    (
        "RAILS3PROFILE",
        r"(?:\(Views: %{NUMBER:viewms}ms \| ActiveRecord: %{NUMBER:activerecordms}ms|\(ActiveRecord: %{NUMBER:activerecordms}ms)?",
    ),
    ("RAILS3FOOT", "Completed %{POSINT:response}%{DATA} in %{NUMBER:totalms}ms %{RAILS3PROFILE}%{GREEDYDATA}"),
    ("RAILS3", r"%{RAILS3HEAD}(?:%{RPROCESSING})?(?<context>(?:%{DATA}\n)*)(?:%{RAILS3FOOT})?"),
];

/// Amazon's load balancers, buckets and edges.
const AWS: Group = &[
    ("S3_REQUEST_LINE", "(?:%{WORD:verb} %{NOTSPACE:request}(?: HTTP/%{NUMBER:httpversion})?|%{DATA:rawrequest})"),
    (
        "S3_ACCESS_LOG",
        r#"%{WORD:owner} %{NOTSPACE:bucket} \[%{HTTPDATE:timestamp}\] %{IP:clientip} %{NOTSPACE:requester} %{NOTSPACE:request_id} %{NOTSPACE:operation} %{NOTSPACE:key} (?:"%{S3_REQUEST_LINE}"|-) (?:%{INT:response:int}|-) (?:-|%{NOTSPACE:error_code}) (?:%{INT:bytes:int}|-) (?:%{INT:object_size:int}|-) (?:%{INT:request_time_ms:int}|-) (?:%{INT:turnaround_time_ms:int}|-) (?:%{QS:referrer}|-) (?:"?%{QS:agent}"?|-) (?:-|%{NOTSPACE:version_id})"#,
    ),
    ("ELB_URIPATHPARAM", "%{URIPATH:path}(?:%{URIPARAM:params})?"),
    ("ELB_URI", "%{URIPROTO:proto}://(?:%{USER}(?::[^@]*)?@)?(?:%{URIHOST:urihost})?(?:%{ELB_URIPATHPARAM})?"),
    ("ELB_REQUEST_LINE", "(?:%{WORD:verb} %{ELB_URI:request}(?: HTTP/%{NUMBER:httpversion})?|%{DATA:rawrequest})"),
    (
        "ELB_ACCESS_LOG",
        r#"%{TIMESTAMP_ISO8601:timestamp} %{NOTSPACE:elb} %{IP:clientip}:%{INT:clientport:int} (?:%{IP:backendip}:?%{INT:backendport:int}|-) %{NUMBER:request_processing_time:float} %{NUMBER:backend_processing_time:float} %{NUMBER:response_processing_time:float} (?:%{INT:response:int}|-) (?:%{INT:backend_response:int}|-) %{INT:received_bytes:int} %{INT:bytes:int} "%{ELB_REQUEST_LINE}""#,
    ),
    ("_COLUMN", r"[^\t]*"),
    (
        "CLOUDFRONT_ACCESS_LOG",
        r"(?<timestamp>%{YEAR}-%{MONTHNUM}-%{MONTHDAY}\t%{TIME})\t%{WORD:x_edge_location}\t(?:%{NUMBER:sc_bytes:int}|-)\t%{IPORHOST:clientip}\t%{WORD:cs_method}\t%{HOSTNAME:cs_host}\t%{NOTSPACE:cs_uri_stem}\t%{NUMBER:sc_status:int}\t%{_COLUMN:referrer}\t%{_COLUMN:agent}\t%{_COLUMN:cs_uri_query}\t%{_COLUMN:cookies}\t%{WORD:x_edge_result_type}\t%{NOTSPACE:x_edge_request_id}\t%{HOSTNAME:x_host_header}\t%{URIPROTO:cs_protocol}\t%{INT:cs_bytes:int}\t%{NUMBER:time_taken:float}\t%{_COLUMN:x_forwarded_for}\t%{_COLUMN:ssl_protocol}\t%{_COLUMN:ssl_cipher}\t%{_COLUMN:x_edge_response_result_type}",
    ),
];

/// `HAProxy` and Squid.
const PROXIES: Group = &[
    ("HAPROXYTIME", "%{HOUR:haproxy_hour}:%{MINUTE:haproxy_minute}(?::%{SECOND:haproxy_second})"),
    (
        "HAPROXYDATE",
        r"%{MONTHDAY:haproxy_monthday}/%{MONTH:haproxy_month}/%{YEAR:haproxy_year}:%{HAPROXYTIME:haproxy_time}\.?%{INT:haproxy_milliseconds}",
    ),
    ("HAPROXYCAPTUREDREQUESTHEADERS", "%{DATA:captured_request_headers}"),
    ("HAPROXYCAPTUREDRESPONSEHEADERS", "%{DATA:captured_response_headers}"),
    (
        "HAPROXYURI",
        "(?:%{URIPROTO:http_proto}://)?(?:%{USER:http_user}(?::[^@]*)?@)?(?:%{URIHOST:http_host})?(?:%{URIPATHPARAM:http_request})?",
    ),
    ("HAPROXYHTTPREQUESTLINE", "(?:<BADREQ>|%{WORD:http_verb} (?:%{HAPROXYURI})?(?: HTTP/%{NUMBER:http_version})?)"),
    (
        "HAPROXYHTTPBASE",
        r#"%{IP:client_ip}:%{INT:client_port} \[%{HAPROXYDATE:accept_date}\] %{NOTSPACE:frontend_name} %{NOTSPACE:backend_name}/%{NOTSPACE:server_name} %{INT:time_request}/%{INT:time_queue}/%{INT:time_backend_connect}/%{INT:time_backend_response}/%{NOTSPACE:time_duration} %{INT:http_status_code} %{NOTSPACE:bytes_read} %{DATA:captured_request_cookie} %{DATA:captured_response_cookie} %{NOTSPACE:termination_state} %{INT:actconn}/%{INT:feconn}/%{INT:beconn}/%{INT:srvconn}/%{NOTSPACE:retries} %{INT:srv_queue}/%{INT:backend_queue} (?:\{%{HAPROXYCAPTUREDREQUESTHEADERS}\})?(?: )?(?:\{%{HAPROXYCAPTUREDRESPONSEHEADERS}\})?(?: )?"%{HAPROXYHTTPREQUESTLINE}"?"#,
    ),
    (
        "HAPROXYHTTP",
        "(?:%{SYSLOGTIMESTAMP:syslog_timestamp}|%{TIMESTAMP_ISO8601:timestamp8601}) %{IPORHOST:syslog_server} %{SYSLOGPROG}: %{HAPROXYHTTPBASE}",
    ),
    (
        "HAPROXYTCP",
        r"(?:%{SYSLOGTIMESTAMP:syslog_timestamp}|%{TIMESTAMP_ISO8601:timestamp8601}) %{IPORHOST:syslog_server} %{SYSLOGPROG}: %{IP:client_ip}:%{INT:client_port} \[%{HAPROXYDATE:accept_date}\] %{NOTSPACE:frontend_name} %{NOTSPACE:backend_name}/%{NOTSPACE:server_name} %{INT:time_queue}/%{INT:time_backend_connect}/%{NOTSPACE:time_duration} %{NOTSPACE:bytes_read} %{NOTSPACE:termination_state} %{INT:actconn}/%{INT:feconn}/%{INT:beconn}/%{INT:srvconn}/%{NOTSPACE:retries} %{INT:srv_queue}/%{INT:backend_queue}",
    ),
    (
        "SQUID3",
        r"%{NUMBER:timestamp}\s+%{NUMBER:duration}\s%{IP:client_address}\s%{WORD:cache_result}/%{NONNEGINT:status_code}\s%{NUMBER:bytes}\s%{WORD:request_method}\s%{NOTSPACE:url}\s(?:%{NOTSPACE:user}|-)\s%{WORD:hierarchy_code}/(?:%{IPORHOST:server}|-)\s%{NOTSPACE:content_type}",
    ),
];

/// Databases.
const STORES: Group = &[
    ("REDISTIMESTAMP", "%{MONTHDAY} %{MONTH} %{TIME}"),
    ("REDISLOG", r"\[%{POSINT:pid}\] %{REDISTIMESTAMP:timestamp} \* "),
    (
        "REDISMONLOG",
        r#"%{NUMBER:timestamp} \[%{INT:database} %{IP:client}:%{NUMBER:port}\] "%{WORD:command}"\s?%{GREEDYDATA:params}"#,
    ),
    ("MONGO_LOG", r"%{SYSLOGTIMESTAMP:timestamp} \[%{WORD:component}\] %{GREEDYDATA:message}"),
    ("MONGO_WORDDASH", r"\b[\w-]+\b"),
    ("MONGO_QUERY", r"\{ .*? \}"),
    (
        "MONGO_SLOWQUERY",
        r"%{WORD} %{MONGO_WORDDASH:database}\.%{MONGO_WORDDASH:collection} %{WORD}: %{MONGO_QUERY:query} ntoreturn:%{NONNEGINT:ntoreturn} ntoskip:%{NONNEGINT:ntoskip} nscanned:%{NONNEGINT:nscanned}.*?nreturned:%{NONNEGINT:nreturned}.+? (?<duration>[0-9]+)ms",
    ),
    ("MONGO3_SEVERITY", r"\w"),
    ("MONGO3_COMPONENT", "%{WORD}|-"),
    (
        "MONGO3_LOG",
        r"%{TIMESTAMP_ISO8601:timestamp} %{MONGO3_SEVERITY:severity} %{MONGO3_COMPONENT:component}%{SPACE}(?:\[%{DATA:context}\])? %{GREEDYDATA:message}",
    ),
    ("POSTGRESQL", "%{DATESTAMP:timestamp} %{TZ} %{DATA:user_id} %{GREEDYDATA:connection_id} %{POSINT:pid}"),
];

/// Exim and BIND.
const MAIL_DNS: Group = &[
    ("EXIM_MSGID", "[0-9A-Za-z]{6}-[0-9A-Za-z]{6}-[0-9A-Za-z]{2}"),
    ("EXIM_FLAGS", "<=|=>|->|\\*>|\\*\\*|==|<>|>>"),
    ("EXIM_DATE", "%{YEAR:exim_year}-%{MONTHNUM:exim_month}-%{MONTHDAY:exim_day} %{TIME:exim_time}"),
    ("EXIM_PID", r"\[%{POSINT:pid}\]"),
    ("EXIM_QT", "(?:[0-9]+y)?(?:[0-9]+w)?(?:[0-9]+d)?(?:[0-9]+h)?(?:[0-9]+m)?(?:[0-9]+s)?"),
    (
        "EXIM_EXCLUDE_TERMS",
        "Message is frozen|(?:Start|End) queue run| Warning: | retry time not reached | no (?:IP address|host name) found for (?:IP address|host) | unexpected disconnection while reading SMTP command | no immediate delivery: |another process is handling this message",
    ),
    (
        "EXIM_REMOTE_HOST",
        r"H=(?:%{NOTSPACE:remote_hostname} )?(?:\(%{NOTSPACE:remote_heloname}\) )?\[%{IP:remote_host}\](?::%{POSINT:remote_port})?",
    ),
    ("EXIM_INTERFACE", r"I=\[%{IP:exim_interface}\](?::%{NUMBER:exim_interface_port})"),
    ("EXIM_PROTOCOL", "P=%{NOTSPACE:protocol}"),
    ("EXIM_MSG_SIZE", "S=%{NUMBER:exim_msg_size}"),
    ("EXIM_HEADER_ID", "id=%{NOTSPACE:exim_header_id}"),
    ("EXIM_QUOTED_CONTENT", r"(?:\\.|[^\\\x22])*"),
    ("EXIM_SUBJECT", "T=%{QS:exim_subject}"),
    ("EXIM_UNKNOWN_FIELD", r"[A-Za-z0-9]{1,4}=(?:%{QS}|%{NOTSPACE})"),
    (
        "EXIM_NAMED_FIELDS",
        "(?: (?:%{EXIM_REMOTE_HOST}|%{EXIM_INTERFACE}|%{EXIM_PROTOCOL}|%{EXIM_MSG_SIZE}|%{EXIM_HEADER_ID}|%{EXIM_SUBJECT}|%{EXIM_UNKNOWN_FIELD}))*",
    ),
    (
        "EXIM_MESSAGE_ARRIVAL",
        r"%{EXIM_DATE:timestamp} (?:%{EXIM_PID} )?%{EXIM_MSGID:exim_msgid} (?<exim_flags><=) (?<exim_sender_email><>|%{NOTSPACE})%{EXIM_NAMED_FIELDS}(?: for %{NOTSPACE:exim_recipient_email})?",
    ),
    ("EXIM", "%{EXIM_MESSAGE_ARRIVAL}"),
    ("BIND9_TIMESTAMP", "%{MONTHDAY}-%{MONTH}-%{YEAR} %{TIME}"),
    (
        "BIND9",
        r"%{BIND9_TIMESTAMP:timestamp} queries: %{LOGLEVEL:loglevel}: client(?: @0x[0-9A-Fa-f]+)? %{IP:clientip}#%{POSINT:clientport} \(%{GREEDYDATA:query}\): query: %{GREEDYDATA:query} IN %{GREEDYDATA:querytype} \(%{IP:dns}\)",
    ),
    ("BIND9_DNSTYPE", "[A-Z][A-Z0-9]*"),
    ("BIND9_CATEGORY", "queries"),
    (
        "BIND9_QUERYLOGBASE",
        r"client(?: @0x[0-9A-Fa-f]+)? %{IP:[client][ip]}#%{POSINT:[client][port]:int} \(%{GREEDYDATA}\): query: %{GREEDYDATA:[dns][question][name]} (?<[dns][question][class]>IN) %{BIND9_DNSTYPE:[dns][question][type]}(?: %{DATA:[bind][log][question][flags]})? \(%{IP:[server][ip]}\)",
    ),
];

/// Bro, and Zeek, which it is called now.
const ZEEK: Group = &[
    (
        "BRO_HTTP",
        r"%{NUMBER:ts}\t%{NOTSPACE:uid}\t%{IP:orig_h}\t%{INT:orig_p}\t%{IP:resp_h}\t%{INT:resp_p}\t%{INT:trans_depth}\t%{GREEDYDATA:method}\t%{GREEDYDATA:domain}\t%{GREEDYDATA:uri}\t%{GREEDYDATA:referrer}\t%{GREEDYDATA:user_agent}\t%{NUMBER:request_body_len}\t%{NUMBER:response_body_len}\t%{GREEDYDATA:status_code}\t%{GREEDYDATA:status_msg}\t%{GREEDYDATA:info_code}\t%{GREEDYDATA:info_msg}\t%{GREEDYDATA:filename}\t%{GREEDYDATA:bro_tags}\t%{GREEDYDATA:username}\t%{GREEDYDATA:password}\t%{GREEDYDATA:proxied}\t%{GREEDYDATA:orig_fuids}\t%{GREEDYDATA:orig_mime_types}\t%{GREEDYDATA:resp_fuids}\t%{GREEDYDATA:resp_mime_types}",
    ),
    (
        "BRO_DNS",
        r"%{NUMBER:ts}\t%{NOTSPACE:uid}\t%{IP:orig_h}\t%{INT:orig_p}\t%{IP:resp_h}\t%{INT:resp_p}\t%{WORD:proto}\t%{INT:trans_id}\t%{GREEDYDATA:query}\t%{GREEDYDATA:qclass}\t%{GREEDYDATA:qclass_name}\t%{GREEDYDATA:qtype}\t%{GREEDYDATA:qtype_name}\t%{GREEDYDATA:rcode}\t%{GREEDYDATA:rcode_name}\t%{GREEDYDATA:AA}\t%{GREEDYDATA:TC}\t%{GREEDYDATA:RD}\t%{GREEDYDATA:RA}\t%{GREEDYDATA:Z}\t%{GREEDYDATA:answers}\t%{GREEDYDATA:TTLs}\t%{GREEDYDATA:rejected}",
    ),
    (
        "BRO_CONN",
        r"%{NUMBER:ts}\t%{NOTSPACE:uid}\t%{IP:orig_h}\t%{INT:orig_p}\t%{IP:resp_h}\t%{INT:resp_p}\t%{WORD:proto}\t%{GREEDYDATA:service}\t%{NUMBER:duration}\t%{NUMBER:orig_bytes}\t%{NUMBER:resp_bytes}\t%{GREEDYDATA:conn_state}\t%{GREEDYDATA:local_orig}\t%{GREEDYDATA:missed_bytes}\t%{GREEDYDATA:history}\t%{GREEDYDATA:orig_pkts}\t%{GREEDYDATA:orig_ip_bytes}\t%{GREEDYDATA:resp_pkts}\t%{GREEDYDATA:resp_ip_bytes}\t%{GREEDYDATA:tunnel_parents}",
    ),
    (
        "BRO_FILES",
        r"%{NUMBER:ts}\t%{NOTSPACE:fuid}\t%{IP:tx_hosts}\t%{IP:rx_hosts}\t%{NOTSPACE:conn_uids}\t%{GREEDYDATA:source}\t%{GREEDYDATA:depth}\t%{GREEDYDATA:analyzers}\t%{GREEDYDATA:mime_type}\t%{GREEDYDATA:filename}\t%{GREEDYDATA:duration}\t%{GREEDYDATA:local_orig}\t%{GREEDYDATA:is_orig}\t%{GREEDYDATA:seen_bytes}\t%{GREEDYDATA:total_bytes}\t%{GREEDYDATA:missing_bytes}\t%{GREEDYDATA:overflow_bytes}\t%{GREEDYDATA:timedout}\t%{GREEDYDATA:parent_fuid}\t%{GREEDYDATA:md5}\t%{GREEDYDATA:sha1}\t%{GREEDYDATA:sha256}\t%{GREEDYDATA:extracted}",
    ),
    ("ZEEK_BOOL", "[TF]"),
    ("ZEEK_DATA", r"[^\t]+"),
    (
        "_ZEEK_ENDS",
        r"%{NUMBER:timestamp}\t%{NOTSPACE:[zeek][session_id]}\t%{IP:[source][ip]}\t%{INT:[source][port]:int}\t%{IP:[destination][ip]}\t%{INT:[destination][port]:int}",
    ),
    (
        "ZEEK_CONN",
        r"%{_ZEEK_ENDS}\t%{WORD:[network][transport]}\t(?:-|%{ZEEK_DATA:[network][protocol]})\t(?:-|%{NUMBER:[zeek][connection][duration]:float})\t(?:-|%{INT:[zeek][connection][orig_bytes]:int})\t(?:-|%{INT:[zeek][connection][resp_bytes]:int})\t(?:-|%{ZEEK_DATA:[zeek][connection][state]})\t(?:-|%{ZEEK_BOOL:[zeek][connection][local_orig]})\t(?:-|%{ZEEK_BOOL:[zeek][connection][local_resp]})\t(?:-|%{INT:[zeek][connection][missed_bytes]:int})\t(?:-|%{ZEEK_DATA:[zeek][connection][history]})\t(?:-|%{INT:[source][packets]:int})\t(?:-|%{INT:[source][bytes]:int})\t(?:-|%{INT:[destination][packets]:int})\t(?:-|%{INT:[destination][bytes]:int})\t(?:-|%{ZEEK_DATA:[zeek][connection][tunnel_parents]})(?:\t(?:-|%{COMMONMAC:[source][mac]})\t(?:-|%{COMMONMAC:[destination][mac]}))?",
    ),
    (
        "ZEEK_DNS",
        r"%{_ZEEK_ENDS}\t%{WORD:[network][transport]}\t(?:-|%{INT:[dns][id]:int})\t(?:-|%{NUMBER:[zeek][dns][rtt]:float})\t(?:-|%{ZEEK_DATA:[dns][question][name]})\t(?:-|%{INT:[zeek][dns][qclass]:int})\t(?:-|%{ZEEK_DATA:[zeek][dns][qclass_name]})\t(?:-|%{INT:[zeek][dns][qtype]:int})\t(?:-|%{ZEEK_DATA:[dns][question][type]})\t(?:-|%{INT:[zeek][dns][rcode]:int})\t(?:-|%{ZEEK_DATA:[dns][response_code]})\t%{ZEEK_BOOL:[zeek][dns][AA]}\t%{ZEEK_BOOL:[zeek][dns][TC]}\t%{ZEEK_BOOL:[zeek][dns][RD]}\t%{ZEEK_BOOL:[zeek][dns][RA]}\t%{NONNEGINT:[zeek][dns][Z]:int}\t(?:-|%{ZEEK_DATA:[zeek][dns][answers]})\t(?:-|%{ZEEK_DATA:[zeek][dns][TTLs]})\t(?:-|%{ZEEK_BOOL:[zeek][dns][rejected]})",
    ),
    // `-` and others for the hosts: the first address of each is the server, and the client.
    ("ZEEK_FILES_TX_HOSTS", r"(?:-|%{IP:[server][ip]})|(?<[zeek][files][tx_hosts]>%{IP:[server][ip]}(?:[\s,]%{IP})+)"),
    ("ZEEK_FILES_RX_HOSTS", r"(?:-|%{IP:[client][ip]})|(?<[zeek][files][rx_hosts]>%{IP:[client][ip]}(?:[\s,]%{IP})+)"),
    (
        "ZEEK_FILES",
        r"%{NUMBER:timestamp}\t%{NOTSPACE:[zeek][files][fuid]}\t(?:%{ZEEK_FILES_TX_HOSTS})\t(?:%{ZEEK_FILES_RX_HOSTS})\t(?:-|%{ZEEK_DATA:[zeek][files][session_ids]})\t(?:-|%{ZEEK_DATA:[zeek][files][source]})\t(?:-|%{INT:[zeek][files][depth]:int})\t(?:-|%{ZEEK_DATA:[zeek][files][analyzers]})\t(?:-|%{ZEEK_DATA:[file][mime_type]})\t(?:-|%{ZEEK_DATA:[file][name]})\t(?:-|%{NUMBER:[zeek][files][duration]:float})\t(?:-|%{ZEEK_DATA:[zeek][files][local_orig]})\t(?:-|%{ZEEK_BOOL:[zeek][files][is_orig]})\t(?:-|%{INT:[zeek][files][seen_bytes]:int})\t(?:-|%{INT:[file][size]:int})\t(?:-|%{INT:[zeek][files][missing_bytes]:int})\t(?:-|%{INT:[zeek][files][overflow_bytes]:int})\t(?:-|%{ZEEK_BOOL:[zeek][files][timedout]})\t(?:-|%{ZEEK_DATA:[zeek][files][parent_fuid]})\t(?:-|%{ZEEK_DATA:[file][hash][md5]})\t(?:-|%{ZEEK_DATA:[file][hash][sha1]})\t(?:-|%{ZEEK_DATA:[file][hash][sha256]})\t(?:-|%{ZEEK_DATA:[zeek][files][extracted]})(?:\t(?:-|%{ZEEK_BOOL:[zeek][files][extracted_cutoff]})\t(?:-|%{INT:[zeek][files][extracted_size]:int}))?",
    ),
];

/// Nagios.
const NAGIOS: Group = &[
    ("NAGIOSTIME", r"\[%{NUMBER:nagios_epoch}\]"),
    (
        "NAGIOS_CURRENT_SERVICE_STATE",
        "(?<nagios_type>CURRENT SERVICE STATE): %{DATA:nagios_hostname};%{DATA:nagios_service};%{DATA:nagios_state};%{DATA:nagios_statetype};%{DATA:nagios_statecode};%{GREEDYDATA:nagios_message}",
    ),
    (
        "NAGIOS_CURRENT_HOST_STATE",
        "(?<nagios_type>CURRENT HOST STATE): %{DATA:nagios_hostname};%{DATA:nagios_state};%{DATA:nagios_statetype};%{DATA:nagios_statecode};%{GREEDYDATA:nagios_message}",
    ),
    (
        "NAGIOS_SERVICE_NOTIFICATION",
        "(?<nagios_type>SERVICE NOTIFICATION): %{DATA:nagios_notifyname};%{DATA:nagios_hostname};%{DATA:nagios_service};%{DATA:nagios_state};%{DATA:nagios_contact};%{GREEDYDATA:nagios_message}",
    ),
    (
        "NAGIOS_HOST_NOTIFICATION",
        "(?<nagios_type>HOST NOTIFICATION): %{DATA:nagios_notifyname};%{DATA:nagios_hostname};%{DATA:nagios_state};%{DATA:nagios_contact};%{GREEDYDATA:nagios_message}",
    ),
    (
        "NAGIOS_SERVICE_ALERT",
        "(?<nagios_type>SERVICE ALERT): %{DATA:nagios_hostname};%{DATA:nagios_service};%{DATA:nagios_state};%{DATA:nagios_statelevel};%{NUMBER:nagios_attempt};%{GREEDYDATA:nagios_message}",
    ),
    (
        "NAGIOS_HOST_ALERT",
        "(?<nagios_type>HOST ALERT): %{DATA:nagios_hostname};%{DATA:nagios_state};%{DATA:nagios_statelevel};%{NUMBER:nagios_attempt};%{GREEDYDATA:nagios_message}",
    ),
    (
        "NAGIOS_SERVICE_FLAPPING_ALERT",
        "(?<nagios_type>SERVICE FLAPPING ALERT): %{DATA:nagios_hostname};%{DATA:nagios_service};%{DATA:nagios_state};%{GREEDYDATA:nagios_message}",
    ),
    (
        "NAGIOS_HOST_FLAPPING_ALERT",
        "(?<nagios_type>HOST FLAPPING ALERT): %{DATA:nagios_hostname};%{DATA:nagios_state};%{GREEDYDATA:nagios_message}",
    ),
    (
        "NAGIOS_SERVICE_DOWNTIME_ALERT",
        "(?<nagios_type>SERVICE DOWNTIME ALERT): %{DATA:nagios_hostname};%{DATA:nagios_service};%{DATA:nagios_state};%{GREEDYDATA:nagios_comment}",
    ),
    (
        "NAGIOS_HOST_DOWNTIME_ALERT",
        "(?<nagios_type>HOST DOWNTIME ALERT): %{DATA:nagios_hostname};%{DATA:nagios_state};%{GREEDYDATA:nagios_comment}",
    ),
    (
        "NAGIOS_PASSIVE_SERVICE_CHECK",
        "(?<nagios_type>PASSIVE SERVICE CHECK): %{DATA:nagios_hostname};%{DATA:nagios_service};%{DATA:nagios_state};%{GREEDYDATA:nagios_comment}",
    ),
    (
        "NAGIOS_PASSIVE_HOST_CHECK",
        "(?<nagios_type>PASSIVE HOST CHECK): %{DATA:nagios_hostname};%{DATA:nagios_state};%{GREEDYDATA:nagios_comment}",
    ),
    (
        "NAGIOS_SERVICE_EVENT_HANDLER",
        "(?<nagios_type>SERVICE EVENT HANDLER): %{DATA:nagios_hostname};%{DATA:nagios_service};%{DATA:nagios_state};%{DATA:nagios_statelevel};%{DATA:nagios_event_handler_name}",
    ),
    (
        "NAGIOS_HOST_EVENT_HANDLER",
        "(?<nagios_type>HOST EVENT HANDLER): %{DATA:nagios_hostname};%{DATA:nagios_state};%{DATA:nagios_statelevel};%{DATA:nagios_event_handler_name}",
    ),
    (
        "NAGIOS_TIMEPERIOD_TRANSITION",
        "(?<nagios_type>TIMEPERIOD TRANSITION): %{DATA:nagios_service};%{NUMBER:nagios_unknown1};%{NUMBER:nagios_unknown2}",
    ),
    ("NAGIOS_WARNING", "Warning:%{SPACE}%{GREEDYDATA:nagios_message}"),
    ("_NAGIOS_SERVICE_COMMANDS", "(?:DISABLE|ENABLE)_SVC_(?:CHECK|NOTIFICATIONS)"),
    ("_NAGIOS_HOST_COMMANDS", "(?:DISABLE|ENABLE)_HOST_(?:CHECK|NOTIFICATIONS|SVC_CHECKS|SVC_NOTIFICATIONS)"),
    (
        "NAGIOS_EC_LINE_SCHEDULE_HOST_DOWNTIME",
        "(?<nagios_type>EXTERNAL COMMAND): (?<nagios_command>SCHEDULE_HOST_DOWNTIME);%{DATA:nagios_hostname};%{NUMBER:nagios_start_time};%{NUMBER:nagios_end_time};%{NUMBER:nagios_fixed};%{NUMBER:nagios_trigger_id};%{NUMBER:nagios_duration};%{DATA:author};%{DATA:comment}",
    ),
    (
        "NAGIOS_EC_LINE_PROCESS_SERVICE_CHECK_RESULT",
        "(?<nagios_type>EXTERNAL COMMAND): (?<nagios_command>PROCESS_SERVICE_CHECK_RESULT);%{DATA:nagios_hostname};%{DATA:nagios_service};%{DATA:nagios_state};%{GREEDYDATA:nagios_check_result}",
    ),
    (
        "NAGIOS_EC_LINE_PROCESS_HOST_CHECK_RESULT",
        "(?<nagios_type>EXTERNAL COMMAND): (?<nagios_command>PROCESS_HOST_CHECK_RESULT);%{DATA:nagios_hostname};%{DATA:nagios_state};%{GREEDYDATA:nagios_check_result}",
    ),
    (
        "_NAGIOS_EC_LINE_SERVICE",
        "(?<nagios_type>EXTERNAL COMMAND): (?<nagios_command>%{_NAGIOS_SERVICE_COMMANDS});%{DATA:nagios_hostname};%{GREEDYDATA:nagios_service}",
    ),
    (
        "_NAGIOS_EC_LINE_HOST",
        "(?<nagios_type>EXTERNAL COMMAND): (?<nagios_command>%{_NAGIOS_HOST_COMMANDS});%{GREEDYDATA:nagios_hostname}",
    ),
    (
        "NAGIOSLOGLINE",
        "%{NAGIOSTIME} (?:%{NAGIOS_WARNING}|%{NAGIOS_CURRENT_SERVICE_STATE}|%{NAGIOS_CURRENT_HOST_STATE}|%{NAGIOS_SERVICE_NOTIFICATION}|%{NAGIOS_HOST_NOTIFICATION}|%{NAGIOS_SERVICE_ALERT}|%{NAGIOS_HOST_ALERT}|%{NAGIOS_SERVICE_FLAPPING_ALERT}|%{NAGIOS_HOST_FLAPPING_ALERT}|%{NAGIOS_SERVICE_DOWNTIME_ALERT}|%{NAGIOS_HOST_DOWNTIME_ALERT}|%{NAGIOS_PASSIVE_SERVICE_CHECK}|%{NAGIOS_PASSIVE_HOST_CHECK}|%{NAGIOS_SERVICE_EVENT_HANDLER}|%{NAGIOS_HOST_EVENT_HANDLER}|%{NAGIOS_TIMEPERIOD_TRANSITION}|%{NAGIOS_EC_LINE_SCHEDULE_HOST_DOWNTIME}|%{NAGIOS_EC_LINE_PROCESS_HOST_CHECK_RESULT}|%{NAGIOS_EC_LINE_PROCESS_SERVICE_CHECK_RESULT}|%{_NAGIOS_EC_LINE_SERVICE}|%{_NAGIOS_EC_LINE_HOST})",
    ),
];

/// Bacula.
const BACULA: Group = &[
    ("BACULA_TIMESTAMP", "%{MONTHDAY}-%{MONTH}(?:-%{YEAR})? %{HOUR}:%{MINUTE}"),
    ("BACULA_HOST", "[A-Za-z0-9.-]+"),
    ("BACULA_VOLUME", "%{USER}"),
    ("BACULA_DEVICE", "%{USER}"),
    ("BACULA_DEVICEPATH", "%{UNIXPATH}"),
    ("BACULA_CAPACITY", "[0-9]{1,3}(?:,[0-9]{3})*"),
    ("BACULA_VERSION", "%{USER}"),
    ("BACULA_JOB", "%{USER}"),
    (
        "BACULA_LOG_MAX_CAPACITY",
        r#"User defined maximum volume capacity %{BACULA_CAPACITY} exceeded on device "%{BACULA_DEVICE:device}" \(%{BACULA_DEVICEPATH}\)"#,
    ),
    (
        "BACULA_LOG_END_VOLUME",
        r#"End of medium on Volume "%{BACULA_VOLUME:volume}" Bytes=%{BACULA_CAPACITY} Blocks=%{BACULA_CAPACITY} at %{MONTHDAY}-%{MONTH}-%{YEAR} %{HOUR}:%{MINUTE}\."#,
    ),
    ("BACULA_LOG_NEW_VOLUME", r#"Created new Volume "%{BACULA_VOLUME:volume}" in catalog\."#),
    (
        "BACULA_LOG_NEW_LABEL",
        r#"Labeled new Volume "%{BACULA_VOLUME:volume}" on device "%{BACULA_DEVICE:device}" \(%{BACULA_DEVICEPATH}\)\."#,
    ),
    (
        "BACULA_LOG_WROTE_LABEL",
        r#"Wrote label to prelabeled Volume "%{BACULA_VOLUME:volume}" on device "%{BACULA_DEVICE}" \(%{BACULA_DEVICEPATH}\)"#,
    ),
    (
        "BACULA_LOG_NEW_MOUNT",
        r#"New volume "%{BACULA_VOLUME:volume}" mounted on device "%{BACULA_DEVICE:device}" \(%{BACULA_DEVICEPATH}\) at %{MONTHDAY}-%{MONTH}-%{YEAR} %{HOUR}:%{MINUTE}\."#,
    ),
    ("BACULA_LOG_NOOPEN", r"\s+Cannot open %{DATA}: ERR=%{GREEDYDATA:berror}"),
    ("BACULA_LOG_NOOPENDIR", r"\s+Could not open directory %{DATA}: ERR=%{GREEDYDATA:berror}"),
    ("BACULA_LOG_NOSTAT", r"\s+Could not stat %{DATA}: ERR=%{GREEDYDATA:berror}"),
    (
        "BACULA_LOG_NOJOBS",
        "There are no more Jobs associated with Volume \"%{BACULA_VOLUME:volume}\"\\. Marking it purged\\.",
    ),
    (
        "BACULA_LOG_ALL_RECORDS_PRUNED",
        "All records pruned from Volume \"%{BACULA_VOLUME:volume}\"; marking it \"Purged\"",
    ),
    ("BACULA_LOG_BEGIN_PRUNE_JOBS", "Begin pruning Jobs older than %{INT} month %{INT} days \\."),
    ("BACULA_LOG_BEGIN_PRUNE_FILES", "Begin pruning Files\\."),
    ("BACULA_LOG_PRUNED_JOBS", "Pruned %{INT} Jobs? for client %{BACULA_HOST:client} from catalog\\."),
    ("BACULA_LOG_PRUNED_FILES", "Pruned Files from %{INT} Jobs? for client %{BACULA_HOST:client} from catalog\\."),
    ("BACULA_LOG_ENDPRUNE", "End auto prune\\."),
    ("BACULA_LOG_STARTJOB", "Start Backup JobId %{INT}, Job=%{BACULA_JOB:job}"),
    ("BACULA_LOG_STARTRESTORE", "Start Restore Job %{BACULA_JOB:job}"),
    ("BACULA_LOG_USEDEVICE", "Using Device \"%{BACULA_DEVICE:device}\""),
    ("BACULA_LOG_DIFF_FS", r"\s+%{UNIXPATH} is a different filesystem\. Will not descend from %{UNIXPATH} into it\."),
    (
        "BACULA_LOG_JOBEND",
        "Job write elapsed time = %{DATA:elapsed}, Transfer rate = %{NUMBER} (?:K|M|G)? Bytes/second",
    ),
    ("BACULA_LOG_NOPRUNE_JOBS", "No Jobs found to prune\\."),
    ("BACULA_LOG_NOPRUNE_FILES", "No Files found to prune\\."),
    (
        "BACULA_LOG_VOLUME_PREVWRITTEN",
        "Volume \"?%{BACULA_VOLUME:volume}\"? previously written, moving to end of data\\.",
    ),
    ("BACULA_LOG_READYAPPEND", "Ready to append to end of Volume \"%{BACULA_VOLUME:volume}\" size=%{INT}"),
    ("BACULA_LOG_CANCELLING", "Cancelling duplicate JobId=%{INT}\\."),
    ("BACULA_LOG_MARKCANCEL", "JobId %{INT}, Job %{BACULA_JOB:job} marked to be canceled\\."),
    ("BACULA_LOG_CLIENT_RBJ", "shell command: run ClientRunBeforeJob \"%{GREEDYDATA:runjob}\""),
    ("BACULA_LOG_VSS", "(?:Generate )?VSS (?:Writer)?"),
    ("BACULA_LOG_MAXSTART", "Fatal [eE]rror: Job canceled because max start delay time exceeded\\."),
    ("BACULA_LOG_DUPLICATE", "Fatal [eE]rror: JobId %{INT:duplicate} already running\\. Duplicate job not allowed\\."),
    ("BACULA_LOG_NOJOBSTAT", "Fatal [eE]rror: No Job status returned from FD\\."),
    (
        "BACULA_LOG_FATAL_CONN",
        "Fatal [eE]rror: bsock\\.c:133 Unable to connect to (?:Client: %{BACULA_HOST:client}|Storage daemon) on %{HOSTNAME}:%{POSINT}\\. ERR=%{GREEDYDATA:berror}",
    ),
    (
        "BACULA_LOG_NO_CONNECT",
        "Warning: bsock\\.c:127 Could not connect to (?:Client: %{BACULA_HOST:client}|Storage daemon) on %{HOSTNAME}:%{POSINT}\\. ERR=%{GREEDYDATA:berror}",
    ),
    ("BACULA_LOG_NO_AUTH", "Fatal error: Unable to authenticate with File daemon at %{HOSTNAME}\\. Possible causes:"),
    ("BACULA_LOG_NOSUIT", "No prior or suitable Full backup found in catalog\\. Doing FULL backup\\."),
    ("BACULA_LOG_NOPRIOR", "No prior Full backup Job record found\\."),
    ("BACULA_LOG_JOB", r"(?:Error: )?Bacula %{BACULA_HOST} %{BACULA_VERSION} \(%{BACULA_VERSION}\):"),
    (
        "BACULA_LOGLINE",
        "%{BACULA_TIMESTAMP:bts} (?:%{BACULA_HOST:hostname} JobId %{INT:jobid}:|%{BACULA_HOST:hostname}:|%{BACULA_HOST:hostname}) ?(?:%{BACULA_LOG_MAX_CAPACITY}|%{BACULA_LOG_END_VOLUME}|%{BACULA_LOG_NEW_VOLUME}|%{BACULA_LOG_NEW_LABEL}|%{BACULA_LOG_WROTE_LABEL}|%{BACULA_LOG_NEW_MOUNT}|%{BACULA_LOG_NOOPEN}|%{BACULA_LOG_NOOPENDIR}|%{BACULA_LOG_NOSTAT}|%{BACULA_LOG_NOJOBS}|%{BACULA_LOG_ALL_RECORDS_PRUNED}|%{BACULA_LOG_BEGIN_PRUNE_JOBS}|%{BACULA_LOG_BEGIN_PRUNE_FILES}|%{BACULA_LOG_PRUNED_JOBS}|%{BACULA_LOG_PRUNED_FILES}|%{BACULA_LOG_ENDPRUNE}|%{BACULA_LOG_STARTJOB}|%{BACULA_LOG_STARTRESTORE}|%{BACULA_LOG_USEDEVICE}|%{BACULA_LOG_DIFF_FS}|%{BACULA_LOG_JOBEND}|%{BACULA_LOG_NOPRUNE_JOBS}|%{BACULA_LOG_NOPRUNE_FILES}|%{BACULA_LOG_VOLUME_PREVWRITTEN}|%{BACULA_LOG_READYAPPEND}|%{BACULA_LOG_CANCELLING}|%{BACULA_LOG_MARKCANCEL}|%{BACULA_LOG_CLIENT_RBJ}|%{BACULA_LOG_VSS}|%{BACULA_LOG_MAXSTART}|%{BACULA_LOG_DUPLICATE}|%{BACULA_LOG_NOJOBSTAT}|%{BACULA_LOG_FATAL_CONN}|%{BACULA_LOG_NO_CONNECT}|%{BACULA_LOG_NO_AUTH}|%{BACULA_LOG_NOSUIT}|%{BACULA_LOG_JOB}|%{BACULA_LOG_NOPRIOR})",
    ),
];

/// Firewalls of several makers.
const FIREWALLS: Group = &[
    (
        "NETSCREENSESSIONLOG",
        "%{SYSLOGTIMESTAMP:date} %{IPORHOST:device} %{NOTSPACE}: NetScreen device_id=%{WORD:device_id} *%{DATA}: start_time=%{QUOTEDSTRING:start_time} duration=%{INT:duration} policy_id=%{INT:policy_id} service=%{DATA:service} proto=%{INT:proto} src zone=%{WORD:src_zone} dst zone=%{WORD:dst_zone} action=%{WORD:action} sent=%{INT:sent} rcvd=%{INT:rcvd} src=%{IPORHOST:src_ip} dst=%{IPORHOST:dst_ip} src_port=%{INT:src_port} dst_port=%{INT:dst_port} src-xlated ip=%{IPORHOST:src_xlated_ip} port=%{INT:src_xlated_port} dst-xlated ip=%{IPORHOST:dst_xlated_ip} port=%{INT:dst_xlated_port} session_id=%{INT:session_id} reason=%{GREEDYDATA:reason}",
    ),
    ("CISCOTAG", "[A-Z0-9]+-%{INT}-[A-Z0-9_]+"),
    (
        "CISCO_TAGGED_SYSLOG",
        "^<%{POSINT:syslog_pri}>%{CISCOTIMESTAMP:timestamp}(?: %{SYSLOGHOST:sysloghost})? ?: %%{CISCOTAG:ciscotag}:",
    ),
    (
        "CISCO_ACTION",
        "Built|Teardown|Deny|Denied|denied by ACL|denied|requested|permitted|discarded|est-allowed|Dropping|created|deleted",
    ),
    (
        "CISCO_REASON",
        r"Duplicate TCP SYN|Failed to locate egress interface|Invalid transport field|No matching connection|DNS Response|DNS Query|(?:%{WORD}\s*)*",
    ),
    ("CISCO_DIRECTION", "[Ii]nbound|[Oo]utbound"),
    ("CISCO_INTERVAL", "first hit|%{INT}-second interval"),
    ("CISCO_XLATE_TYPE", "static|dynamic"),
    ("CISCOFW104001", r"\((?:Primary|Secondary)\) Switching to ACTIVE - %{GREEDYDATA:switch_reason}"),
    ("CISCOFW104002", r"\((?:Primary|Secondary)\) Switching to STANDBY - %{GREEDYDATA:switch_reason}"),
    ("CISCOFW104003", r"\((?:Primary|Secondary)\) Switching to FAILED\."),
    ("CISCOFW104004", r"\((?:Primary|Secondary)\) Switching to OK\."),
    ("CISCOFW105003", r"\((?:Primary|Secondary)\) Monitoring on [Ii]nterface %{GREEDYDATA:interface_name} waiting"),
    ("CISCOFW105004", r"\((?:Primary|Secondary)\) Monitoring on [Ii]nterface %{GREEDYDATA:interface_name} normal"),
    (
        "CISCOFW105005",
        r"\((?:Primary|Secondary)\) Lost Failover communications with mate on [Ii]nterface %{GREEDYDATA:interface_name}",
    ),
    ("CISCOFW105008", r"\((?:Primary|Secondary)\) Testing [Ii]nterface %{GREEDYDATA:interface_name}"),
    (
        "CISCOFW105009",
        r"\((?:Primary|Secondary)\) Testing on [Ii]nterface %{GREEDYDATA:interface_name} (?:Passed|Failed)",
    ),
    (
        "CISCOFW106001",
        "%{CISCO_DIRECTION:direction} %{WORD:protocol} connection %{CISCO_ACTION:action} from %{IP:src_ip}/%{INT:src_port} to %{IP:dst_ip}/%{INT:dst_port} flags %{GREEDYDATA:tcp_flags} on interface %{GREEDYDATA:interface}",
    ),
    (
        "CISCOFW106006_106007_106010",
        r"%{CISCO_ACTION:action} %{CISCO_DIRECTION:direction} %{WORD:protocol} (?:from|src) %{IP:src_ip}/%{INT:src_port}(?:\(%{DATA:src_fwuser}\))? (?:to|dst) %{IP:dst_ip}/%{INT:dst_port}(?:\(%{DATA:dst_fwuser}\))? (?:on interface %{NOTSPACE:interface}|due to %{CISCO_REASON:reason})",
    ),
    (
        "CISCOFW106014",
        r"%{CISCO_ACTION:action} %{CISCO_DIRECTION:direction} %{WORD:protocol} src %{DATA:src_interface}:%{IP:src_ip}(?:\(%{DATA:src_fwuser}\))? dst %{DATA:dst_interface}:%{IP:dst_ip}(?:\(%{DATA:dst_fwuser}\))? ?\(type %{INT:icmp_type}, code %{INT:icmp_code}\)",
    ),
    (
        "CISCOFW106015",
        r"%{CISCO_ACTION:action} %{WORD:protocol} \(%{DATA:policy_id}\) from %{IP:src_ip}/%{INT:src_port} to %{IP:dst_ip}/%{INT:dst_port} flags %{DATA:tcp_flags} +on interface %{GREEDYDATA:interface}",
    ),
    (
        "CISCOFW106021",
        "%{CISCO_ACTION:action} %{WORD:protocol} reverse path check from %{IP:src_ip} to %{IP:dst_ip} on interface %{GREEDYDATA:interface}",
    ),
    (
        "CISCOFW106023",
        r#"%{CISCO_ACTION:action}(?: protocol)? %{WORD:protocol} src %{DATA:src_interface}:%{DATA:src_ip}(?:/%{INT:src_port})?(?:\(%{DATA:src_fwuser}\))? dst %{DATA:dst_interface}:%{DATA:dst_ip}(?:/%{INT:dst_port})?(?:\(%{DATA:dst_fwuser}\))?(?: \(type %{INT:icmp_type}, code %{INT:icmp_code}\))? by access-group "?%{DATA:policy_id}"? \[%{DATA:hashcode1}, %{DATA:hashcode2}\]"#,
    ),
    (
        "CISCOFW106100_2_3",
        r"access-list %{NOTSPACE:policy_id} %{CISCO_ACTION:action} %{WORD:protocol} for user '%{DATA:src_fwuser}' %{DATA:src_interface}/%{IP:src_ip}\(%{INT:src_port}\) -> %{DATA:dst_interface}/%{IP:dst_ip}\(%{INT:dst_port}\) hit-cnt %{INT:hit_count} %{CISCO_INTERVAL:interval} \[%{DATA:hashcode1}, %{DATA:hashcode2}\]",
    ),
    (
        "CISCOFW106100",
        r"access-list %{NOTSPACE:policy_id} %{CISCO_ACTION:action} %{WORD:protocol} %{DATA:src_interface}/%{IP:src_ip}\(%{INT:src_port}\)(?:\(%{DATA:src_fwuser}\))? -> %{DATA:dst_interface}/%{IP:dst_ip}\(%{INT:dst_port}\)(?:\(%{DATA:dst_fwuser}\))? hit-cnt %{INT:hit_count} %{CISCO_INTERVAL:interval} \[%{DATA:hashcode1}, %{DATA:hashcode2}\]",
    ),
    (
        "CISCOFW110002",
        "%{CISCO_REASON:reason} for %{WORD:protocol} from %{DATA:src_interface}:%{IP:src_ip}/%{INT:src_port} to %{IP:dst_ip}/%{INT:dst_port}",
    ),
    ("CISCOFW302010", "%{INT:connection_count} in use, %{INT:connection_count_max} most used"),
    (
        "CISCOFW302013_302014_302015_302016",
        r"%{CISCO_ACTION:action}(?: %{CISCO_DIRECTION:direction})? %{WORD:protocol} connection %{INT:connection_id} for %{DATA:src_interface}:%{IP:src_ip}/%{INT:src_port}(?: \(%{IP:src_mapped_ip}/%{INT:src_mapped_port}\))?(?:\(%{DATA:src_fwuser}\))? to %{DATA:dst_interface}:%{IP:dst_ip}/%{INT:dst_port}(?: \(%{IP:dst_mapped_ip}/%{INT:dst_mapped_port}\))?(?:\(%{DATA:dst_fwuser}\))?(?: duration %{TIME:duration} bytes %{INT:bytes})?(?: %{CISCO_REASON:reason})?(?: \(%{DATA:user}\))?",
    ),
    (
        "CISCOFW302020_302021",
        r"%{CISCO_ACTION:action}(?: %{CISCO_DIRECTION:direction})? %{WORD:protocol} connection for faddr %{IP:dst_ip}/%{INT:icmp_seq_num}(?:\(%{DATA:fwuser}\))? gaddr %{IP:src_xlated_ip}/%{INT:icmp_code_xlated} laddr %{IP:src_ip}/%{INT:icmp_code}(?: \(%{DATA:user}\))?",
    ),
    ("CISCOFW304001", r"%{IP:src_ip}(?:\(%{DATA:src_fwuser}\))? Accessed URL %{IP:dst_ip}:%{GREEDYDATA:dst_url}"),
    (
        "CISCOFW305011",
        r"%{CISCO_ACTION:action} %{CISCO_XLATE_TYPE:xlate_type} %{WORD:protocol} translation from %{DATA:src_interface}:%{IP:src_ip}(?:/%{INT:src_port})?(?:\(%{DATA:src_fwuser}\))? to %{DATA:src_xlated_interface}:%{IP:src_xlated_ip}/%{INT:src_xlated_port}",
    ),
    (
        "CISCOFW313001_313004_313008",
        "%{CISCO_ACTION:action} %{WORD:protocol} type=%{INT:icmp_type}, code=%{INT:icmp_code} from %{IP:src_ip} on interface %{NOTSPACE:interface}(?: to %{IP:dst_ip})?",
    ),
    (
        "CISCOFW313005",
        r"%{CISCO_REASON:reason} for %{WORD:protocol} error message: %{WORD:err_protocol} src %{DATA:err_src_interface}:%{IP:err_src_ip}(?:\(%{DATA:err_src_fwuser}\))? dst %{DATA:err_dst_interface}:%{IP:err_dst_ip}(?:\(%{DATA:err_dst_fwuser}\))? \(type %{INT:err_icmp_type}, code %{INT:err_icmp_code}\) on %{DATA:interface} interface\. +Original IP payload: %{WORD:protocol} src %{IP:orig_src_ip}/%{INT:orig_src_port}(?:\(%{DATA:orig_src_fwuser}\))? dst %{IP:orig_dst_ip}/%{INT:orig_dst_port}(?:\(%{DATA:orig_dst_fwuser}\))?",
    ),
    ("CISCOFW321001", "Resource '%{WORD:resource_name}' limit of %{POSINT:resource_limit} reached for system"),
    (
        "CISCOFW402117",
        r"%{WORD:protocol}: Received a non-IPSec packet \(protocol= ?%{WORD:orig_protocol}\) from %{IP:src_ip} to %{IP:dst_ip}\.?",
    ),
    (
        "CISCOFW402119",
        r"%{WORD:protocol}: Received an %{WORD:orig_protocol} packet \(SPI= ?%{DATA:spi}, sequence number= ?%{DATA:seq_num}\) from %{IP:src_ip} \(user= ?%{DATA:user}\) to %{IP:dst_ip} that failed anti-replay checking\.?",
    ),
    (
        "CISCOFW419001",
        "%{CISCO_ACTION:action} %{WORD:protocol} packet from %{DATA:src_interface}:%{IP:src_ip}/%{INT:src_port} to %{DATA:dst_interface}:%{IP:dst_ip}/%{INT:dst_port}, reason: %{GREEDYDATA:reason}",
    ),
    (
        "CISCOFW419002",
        "%{CISCO_REASON:reason} from %{DATA:src_interface}:%{IP:src_ip}/%{INT:src_port} to %{DATA:dst_interface}:%{IP:dst_ip}/%{INT:dst_port} with different initial sequence number",
    ),
    (
        "CISCOFW500004",
        "%{CISCO_REASON:reason} for protocol=%{WORD:protocol}, from %{IP:src_ip}/%{INT:src_port} to %{IP:dst_ip}/%{INT:dst_port}",
    ),
    (
        "CISCOFW602303_602304",
        r"%{WORD:protocol}: An %{CISCO_DIRECTION:direction} %{DATA:tunnel_type} SA \(SPI= ?%{DATA:spi}\) between %{IP:src_ip} and %{IP:dst_ip} \(user= ?%{DATA:user}\) has been %{CISCO_ACTION:action}",
    ),
    (
        "CISCOFW710001_710002_710003_710005_710006",
        "%{WORD:protocol} (?:request|access) %{CISCO_ACTION:action} from %{IP:src_ip}/%{INT:src_port} to %{DATA:dst_interface}:%{IP:dst_ip}/%{INT:dst_port}",
    ),
    (
        "CISCOFW713172",
        r"Group = %{DATA:group}, IP = %{IP:src_ip}, Automatic NAT Detection Status:\s+Remote end\s*%{DATA:is_remote_natted}\s*behind a NAT device\s+This\s+end\s*%{DATA:is_local_natted}\s*behind a NAT device",
    ),
    (
        "CISCOFW733100",
        r"\[\s*%{DATA:drop_type}\s*\] drop %{DATA:drop_rate_id} exceeded\. Current burst rate is %{INT:drop_rate_current_burst} per second, max configured rate is %{INT:drop_rate_max_burst}; Current average rate is %{INT:drop_rate_current_avg} per second, max configured rate is %{INT:drop_rate_max_avg}; Cumulative total count is %{INT:drop_total_count}",
    ),
    (
        "SHOREWALL",
        r"%{SYSLOGTIMESTAMP:timestamp} %{WORD:nf_host} .*?Shorewall:(?:%{WORD:nf_action1})?:(?:%{WORD:nf_action2})?.*?IN=(?:%{USERNAME:nf_in_interface})?.*?(?:OUT= *MAC=%{COMMONMAC:nf_dst_mac}:(?:%{COMMONMAC:nf_src_mac})?|OUT=%{USERNAME:nf_out_interface}).*?SRC=%{IPV4:nf_src_ip}.*?DST=%{IPV4:nf_dst_ip}.*?LEN=%{WORD:nf_len}.?TOS=%{WORD:nf_tos}.?PREC=%{WORD:nf_prec}.?TTL=%{INT:nf_ttl}.?ID=%{INT:nf_id}.*?PROTO=%{WORD:nf_protocol}.?SPT=%{INT:nf_src_port}.?DPT=%{INT:nf_dst_port}.*",
    ),
    ("SFW2_LOG_PREFIX", "SFW2-INext-%{NOTSPACE:nf_action}"),
    (
        "SFW2",
        r"(?:%{SYSLOGTIMESTAMP:timestamp}|%{TIMESTAMP_ISO8601:timestamp})\s*%{HOSTNAME}.*?%{NAGIOSTIME} %{SFW2_LOG_PREFIX}\s*IN=(?:%{USERNAME:nf_in_interface})?.*?OUT=(?:\s*%{USERNAME:nf_out_interface})?\s*MAC=(?:%{COMMONMAC:nf_dst_mac}:%{COMMONMAC:nf_src_mac}|\s*).*?SRC=(?:%{IP:nf_src_ip}).*?DST=(?:%{IP:nf_dst_ip}).*?PROTO=%{WORD:nf_protocol}(?:.*?SPT=%{INT:nf_src_port}.*?DPT=%{INT:nf_dst_port})?",
    ),
    ("RT_FLOW_TAG", "RT_FLOW_SESSION_(?:CREATE|CLOSE|DENY)"),
    ("RT_FLOW_EVENT", "%{RT_FLOW_TAG}"),
    (
        "RT_FLOW1",
        r"%{RT_FLOW_EVENT:event}: %{GREEDYDATA:close-reason}: %{IP:src-ip}/%{INT:src-port}->%{IP:dst-ip}/%{INT:dst-port} %{DATA:service} %{IP:nat-src-ip}/%{INT:nat-src-port}->%{IP:nat-dst-ip}/%{INT:nat-dst-port} %{DATA:src-nat-rule-name} %{DATA:dst-nat-rule-name} %{INT:protocol-id} %{DATA:policy-name} %{DATA:from-zone} %{DATA:to-zone} %{INT:session-id} [0-9]+\(%{DATA:sent}\) [0-9]+\(%{DATA:received}\) %{INT:elapsed-time} .*",
    ),
    (
        "RT_FLOW2",
        r"%{RT_FLOW_EVENT:event}: session created %{IP:src-ip}/%{INT:src-port}->%{IP:dst-ip}/%{INT:dst-port} %{DATA:service} %{IP:nat-src-ip}/%{INT:nat-src-port}->%{IP:nat-dst-ip}/%{INT:nat-dst-port} %{DATA:src-nat-rule-name} %{DATA:dst-nat-rule-name} %{INT:protocol-id} %{DATA:policy-name} %{DATA:from-zone} %{DATA:to-zone} %{INT:session-id} .*",
    ),
    (
        "RT_FLOW3",
        r"%{RT_FLOW_EVENT:event}: session denied %{IP:src-ip}/%{INT:src-port}->%{IP:dst-ip}/%{INT:dst-port} %{DATA:service} %{INT:protocol-id}\([0-9]\) %{DATA:policy-name} %{DATA:from-zone} %{DATA:to-zone} .*",
    ),
];

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::parse::grok::Grok;

    #[test]
    fn every_pattern_compiles_and_has_a_name_of_its_own() {
        let mut seen = BTreeSet::new();
        for name in names() {
            assert!(seen.insert(name), "{name} twice");
            Grok::new(&format!("%{{{name}:whole}}"), &BTreeMap::new(), &BTreeMap::new())
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
