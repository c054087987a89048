usual_server
rm /etc/pushmaild/apns.pem
# Apple signs the request.
before_2() {
    echo "$for_production" > extension
    openssl x509 -req -in apns.csr -signkey apns.key -days 365 -subj "/CN=APSP:example/UID=$topic" -extfile extension \
        -outform der -out aps.cer 2> openssl.log || { cat openssl.log && exit 1; }
}
