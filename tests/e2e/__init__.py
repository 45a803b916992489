"""The product as a site runs it: a real Asterisk, SIP and RTP, a second Asterisk as the network, real processes."""
