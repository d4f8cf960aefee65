set -e
export SOURCE_DATE_EPOCH=1700000000
mkdir /repository
cd /repository
chmod -R u=rwX,go=rX /build/greeter
dpkg-deb --root-owner-group --build /build/greeter greeter_1.0_all.deb > /dev/null
{
    dpkg-deb --field greeter_1.0_all.deb
    echo "Filename: ./greeter_1.0_all.deb"
    echo "Size: $(stat -c %s greeter_1.0_all.deb)"
    echo "SHA256: $(sha256sum greeter_1.0_all.deb | cut -d' ' -f1)"
} > Packages
