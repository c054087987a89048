usual_server
# After its user has opted in again.
before_2() { a_phone_registers; }
